"""The application: every route, problem details, and the platform's life from start to stop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

from serving.api import anomalies, estimates, events, forecasts, health, live, plans, problems, usage
from serving.dashboard import pages
from serving.platform import Platform
from serving.settings import Settings

_STATIC = Path(pages.__file__).parent / "static"
_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"


def create_app(settings: Settings) -> FastAPI:
    """The application of one server; the engine runs from its start-up to its shutdown."""
    platform = Platform(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        platform.start()
        yield
        platform.stop()

    app = FastAPI(title="Metercast", version="0.1.0", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.platform = platform
    problems.install(app)
    for module in (events, usage, forecasts, anomalies, plans, estimates, live, health, pages):
        app.include_router(module.router)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return pages.docs_page(app.openapi())

    @app.middleware("http")
    async def secure(request: Request, call_next):  # type: ignore[no-untyped-def]
        response: Response = await call_next(request)
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        response.headers.setdefault("Referrer-Policy", "no-referrer")
        return response

    return app
