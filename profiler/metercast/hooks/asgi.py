"""Opens an operation for every request of an ASGI framework (FastAPI, Starlette), named after its route."""

from __future__ import annotations

import functools

from metercast.operations import operation
from metercast.routes import route_of_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine

_MARK = "metercast"


def install_application(applications: ModuleType, engine: Engine) -> None:
    """Wrap `Starlette.__call__`, which FastAPI calls as well; mounted applications belong to the outer request."""
    applications.Starlette.__call__ = metered_application(applications.Starlette.__call__, engine)


def install_django(asgi: ModuleType, engine: Engine) -> None:
    """Wrap Django's ASGI handler."""
    asgi.ASGIHandler.__call__ = metered_application(asgi.ASGIHandler.__call__, engine)


def install_routes(routing: ModuleType, engine: Engine) -> None:
    """Name the operation by the template of the route once the router has found it."""
    for name in ("Route", "WebSocketRoute"):
        _name_by_route(getattr(routing, name), engine)


def install_fastapi_routes(routing: ModuleType, engine: Engine) -> None:
    """FastAPI's routes have a `handle` of their own."""
    for name in ("APIRoute", "APIWebSocketRoute"):
        if "handle" in vars(getattr(routing, name)):
            _name_by_route(getattr(routing, name), engine)


def metered_application(call: Callable[..., Any], engine: Engine) -> Callable[..., Any]:
    """An ASGI application whose requests are operations."""

    @functools.wraps(call)
    async def calling(self: Any, scope: Any, receive: Any, send: Any) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket") or _MARK in scope or not engine.is_on:
            await call(self, scope, receive, send)
            return
        method = scope.get("method", "WEBSOCKET")
        scope[_MARK] = method
        with operation(f"{method} {route_of_path(scope['path'])}", _user(scope["headers"], engine)):
            await call(self, scope, receive, send)

    return calling


def _user(headers: Any, engine: Engine) -> str:
    for name in engine.user_headers:
        wanted = name.lower().encode("latin-1")
        for key, value in headers:
            if key == wanted and value:
                text: str = value.decode("latin-1")
                return text
    return ""


def _name_by_route(route: Any, engine: Engine) -> None:
    handle = route.handle

    @functools.wraps(handle)
    async def handling(self: Any, scope: Any, receive: Any, send: Any) -> None:
        execution, method = engine.current.get(), scope.get(_MARK)
        if method is not None and execution is not None and not execution.is_root:
            above = route_of_path(scope.get("root_path", "")) if scope.get("root_path") else ""
            execution.operation = f"{method} {above}{self.path}"
        await handle(self, scope, receive, send)

    route.handle = handling
