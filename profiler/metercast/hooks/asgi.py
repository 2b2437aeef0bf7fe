"""Opens an operation for every request of an ASGI framework (FastAPI, Starlette), named after its route."""

from __future__ import annotations

import functools

from metercast.native import compiled
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
    """FastAPI's routes have a `handle` of their own, which does not always call that of Starlette's."""
    for name in ("APIRoute", "APIWebSocketRoute"):
        if "handle" in vars(getattr(routing, name)):
            _name_by_route(getattr(routing, name), engine)


def metered_application(call: Callable[..., Any], engine: Engine) -> Callable[..., Any]:
    """An ASGI application whose requests are operations; the compiled engine has a form of it without frames."""
    calling = _calling(call, engine)
    native = compiled(engine, "Hook")
    if native is None:
        return calling
    headers = tuple(name.lower().encode("latin-1") for name in engine.user_headers)
    metered: Callable[..., Any] = native(engine, call, route_of_path, calling, headers)
    return metered


def _calling(call: Callable[..., Any], engine: Engine) -> Callable[..., Any]:
    enter, leave = engine.enter, engine.leave
    names = [name.lower().encode("latin-1") for name in engine.user_headers]
    places = {name: place for place, name in enumerate(names)}

    @functools.wraps(call)
    async def calling(self: Any, scope: Any, receive: Any, send: Any) -> Any:
        kind = scope["type"]
        if _MARK in scope or not engine.is_on or kind not in ("http", "websocket"):
            return await call(self, scope, receive, send)
        scope[_MARK] = method = scope.get("method", "WEBSOCKET")
        user = found = None  # the first of the configured names that has a value
        for name, value in scope["headers"]:
            if name in places and value and (found is None or places[name] < places[found]):
                found, user = name, value
        unrouted = f"{method} {{unrouted}}"
        execution = enter(unrouted, "" if user is None else str(user, "latin-1"))
        try:
            return await call(self, scope, receive, send)
        finally:
            if execution.operation is unrouted:
                execution.operation = f"{method} {route_of_path(scope['path'])}"
            leave(execution)

    return calling


def _name_by_route(route: Any, engine: Engine) -> None:
    handle, current = route.handle, engine.current
    native = compiled(engine, "Hook")
    if native is not None:
        route.handle = native(engine, handle, route_of_path)
        return

    names: dict[tuple[str, str], str] = {}  # of requests without a root path, by method and route

    @functools.wraps(handle)
    def handling(self: Any, scope: Any, receive: Any, send: Any) -> Any:
        method, execution = scope.get(_MARK), current.get()
        if method is not None and execution is not None and not execution.is_root:
            scope[_MARK] = None  # a framework's route hands on to Starlette's, which is wrapped as well
            above, path = scope.get("root_path"), self.path
            name = None if above else names.get((method, path))
            if name is None:
                name = f"{method} {route_of_path(above) if above else ''}{path}"
                if not above:
                    names[method, path] = name
            execution.operation = name
        return handle(self, scope, receive, send)

    route.handle = handling
