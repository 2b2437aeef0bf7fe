"""Opens an operation for every request of a WSGI framework (Flask, Django), named after its route."""

from __future__ import annotations

import functools

from metercast.routes import route_of_path, served

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextvars import Token
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine
    from metercast.execution import Execution

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
    """A WSGI application whose requests are operations, from the call until the response is closed.

    What the server does in between in that thread, as sending the response, belongs to the request.
    """

    @functools.wraps(call)
    def calling(self: Any, environ: Any, start_response: Any) -> Any:
        if _MARK in environ or not engine.is_on:
            return call(self, environ, start_response)
        outer = engine.current.get()
        if outer is not None and served.get() is outer:  # the server has opened an operation for this request
            environ[_MARK] = outer
            return call(self, environ, start_response)
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
        execution = engine.open(f"{environ['REQUEST_METHOD']} {route_of_path(path)}", _user(environ, engine))
        environ[_MARK] = execution
        token = engine.current.set(execution)
        try:
            body = call(self, environ, start_response)
        except BaseException:
            engine.close(execution)
            engine.current.reset(token)
            raise
        return _closing_request(body, environ, _Request(execution, token, engine))

    return calling


class _Request:
    """An open request; ends once."""

    __slots__ = ("_engine", "_execution", "_token")

    def __init__(self, execution: Execution, token: Token[Execution | None], engine: Engine) -> None:
        self._execution = execution
        self._token = token
        self._engine = engine

    def end(self) -> None:
        """Close the operation, and go on with the one before it."""
        if not self._execution.is_open:
            return
        self._engine.close(self._execution)
        try:
            self._engine.current.reset(self._token)
        except ValueError:  # closed in another thread or context
            if self._engine.current.get() is self._execution:
                self._engine.current.set(self._execution.parent)


class Response:
    """The body of a response that ends its request when it is closed, as WSGI servers do for every response."""

    def __init__(self, body: Any, request: _Request) -> None:
        self._body = body
        self._request = request
        self._items: Iterator[bytes] | None = None

    def __iter__(self) -> Response:
        self._items = iter(self._body)
        return self

    def __next__(self) -> bytes:
        if self._items is None:
            self._items = iter(self._body)
        return next(self._items)

    def close(self) -> None:
        """End the request."""
        try:
            if hasattr(self._body, "close"):
                self._body.close()
        finally:
            self._request.end()

    def __del__(self) -> None:
        self._request.end()  # of a server that did not close it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


class SizedResponse(Response):
    """A list or tuple of parts, whose number tells servers whether its first part is all."""

    def __len__(self) -> int:
        return len(self._body)


def _closing_request(body: Any, environ: Any, request: _Request) -> Any:
    """The body as the server is to see it; files keep their wrapper, which servers know and send quicker."""
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type) and isinstance(body, wrapper):
        close = getattr(body, "close", None)

        def closing() -> None:
            try:
                if close is not None:
                    close()
            finally:
                request.end()

        vars(body)["close"] = closing
        return body
    return (SizedResponse if hasattr(body, "__len__") else Response)(body, request)


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
