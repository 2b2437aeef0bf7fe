"""All pages in one list, and the API's reference."""

from __future__ import annotations

from typing import Any

from fastapi.responses import HTMLResponse

from serving.dashboard import (
    anomalies_page,
    live_page,
    login_page,
    models_page,
    operations_page,
    plans_page,
    settings_page,
    spend_page,
)
from serving.dashboard.rendering import show

ROUTERS = tuple(
    module.router
    for module in (
        spend_page,
        operations_page,
        anomalies_page,
        plans_page,
        live_page,
        models_page,
        settings_page,
        login_page,
    )
)


def docs_page(openapi: dict[str, Any]) -> HTMLResponse:
    """The API's reference from its OpenAPI document, without anything from elsewhere."""
    routes = [
        {"method": method.upper(), "path": path, "summary": operation.get("summary", ""), **operation}
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    return show("docs.html", {"routes": routes, "title": openapi["info"]["title"]})
