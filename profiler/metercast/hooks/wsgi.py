"""Opens an operation for every request of a WSGI framework (Flask, Django), named after its route."""

from __future__ import annotations

import functools

from metercast.routes import route_of_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType
    from typing import Any, TypeVar

    from metercast.engine import Engine
    from metercast.execution import Execution

    Result = TypeVar("Result")

_MARK = "metercast.execution"


def install_flask(app: ModuleType, engine: Engine) -> None:
    """Wrap `Flask.__call__`, and name operations by the rule that matched."""
    app.Flask.__call__ = metered_application(app.Flask.__call__, engine)
    dispatch = app.Flask.dispatch_request

    @functools.wraps(dispatch)
    def dispatching(self: Any, *args: Any) -> Any:
        from flask import request  # type: ignore[import-not-found,unused-ignore]

        if request.url_rule is not None:
            _rename(engine, request.method, request.script_root, str(request.url_rule))
        return dispatch(self, *args)

    app.Flask.dispatch_request = dispatching


def install_django(wsgi: ModuleType, engine: Engine) -> None:
    """Wrap Django's WSGI handler."""
    wsgi.WSGIHandler.__call__ = metered_application(wsgi.WSGIHandler.__call__, engine)


def install_django_routes(base: ModuleType, engine: Engine) -> None:
    """Name operations by the URL pattern that Django resolved."""
    resolve = base.BaseHandler.resolve_request

    @functools.wraps(resolve)
    def resolving(self: Any, request: Any) -> Any:
        match = resolve(self, request)
        _rename(engine, request.method, "", f"/{request.resolver_match.route}")
        return match

    base.BaseHandler.resolve_request = resolving


def metered_application(call: Callable[..., Any], engine: Engine) -> Callable[..., Any]:
    """A WSGI application whose requests are operations, from the call until the response is closed."""

    @functools.wraps(call)
    def calling(self: Any, environ: Any, start_response: Any) -> Any:
        if _MARK in environ or not engine.is_on:
            return call(self, environ, start_response)
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        outer = engine.current.get()
        execution = engine.open(f"{environ['REQUEST_METHOD']} {route_of_path(path)}", _user(environ, engine))
        environ[_MARK] = execution
        token = engine.current.set(execution)
        try:
            body = call(self, environ, start_response)
        except BaseException:
            engine.close(execution)
            raise
        finally:
            engine.current.reset(token)
        engine.switch(outer)
        return Response(body, execution, engine)

    return calling


class Response:
    """The body of a response; what making it costs belongs to the request."""

    def __init__(self, body: Any, execution: Execution, engine: Engine) -> None:
        self._body = body
        self._items: Iterator[bytes] = iter(body)
        self._execution = execution
        self._engine = engine

    def __iter__(self) -> Response:
        return self

    def __next__(self) -> bytes:
        return self._inside(self._items.__next__)

    def close(self) -> None:
        """End the request, as WSGI servers do for every response."""
        try:
            if hasattr(self._body, "close"):
                self._inside(self._body.close)
        finally:
            if self._execution.is_open:
                self._engine.resume(self._execution)
                self._engine.close(self._execution)

    def _inside(self, function: Callable[[], Result]) -> Result:
        engine = self._engine
        outer = engine.current.get()
        engine.resume(self._execution)
        token = engine.current.set(self._execution)
        try:
            return function()
        finally:
            engine.current.reset(token)
            engine.switch(outer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


def _user(environ: Any, engine: Engine) -> str:
    for name in engine.user_headers:
        value: str = environ.get("HTTP_" + name.upper().replace("-", "_"), "")
        if value:
            return value
    return ""


def _rename(engine: Engine, method: str, above: str, route: str) -> None:
    execution = engine.current.get()
    if execution is not None and not execution.is_root:
        execution.operation = f"{method} {above}{route}"
