"""The application: every route, problem details, and the platform's life from start to stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from serving import tracing
from serving.api import (
    anomalies,
    baselines,
    budgets,
    customers,
    drift,
    estimates,
    events,
    forecasts,
    health,
    invoices,
    keys,
    live,
    planned_events,
    plans,
    prices,
    problems,
    quotes,
    retractions,
    service_levels,
    spend,
    usage,
    webhooks,
)
from serving.api.door import Application
from serving.api.middleware import RequestFrame, Requests
from serving.api.security import INGEST, needs
from serving.dashboard import login_page, pages
from serving.platform import Platform
from serving.settings import Settings

_RESOURCES = (
    usage,
    baselines,
    spend,
    forecasts,
    drift,
    anomalies,
    planned_events,
    plans,
    estimates,
    live,
    budgets,
    keys,
    health,
)
_STATIC = Path(pages.__file__).parent / "static"


def create_app(settings: Settings) -> FastAPI:
    """The application of one server; the engine runs from its start-up to its shutdown."""
    platform = Platform(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        platform.start()
        yield
        platform.stop()
        if tracer is not None:
            tracer.shutdown()

    app = Application(title="Metercast", version="0.1.0", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.platform = platform
    app.state.requests = Requests()
    problems.install(app)
    app.include_router(events.router, dependencies=[needs("events:write")])
    for module in _RESOURCES:
        app.include_router(module.router)
    for module in (prices, quotes, customers, invoices, retractions, service_levels, webhooks):
        app.include_router(module.router)
    for router in pages.ROUTERS:
        app.include_router(router, dependencies=[needs("usage:read")] if router is not login_page.router else [])
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return pages.docs_page(app.openapi())

    app.add_middleware(RequestFrame, requests=app.state.requests)
    tracer = tracing.install(app, settings.otlp_endpoint) if settings.otlp_endpoint else None
    app.open_door(app.state.requests, tracing.around(tracer, f"POST {INGEST}") if tracer is not None else None)
    return app
