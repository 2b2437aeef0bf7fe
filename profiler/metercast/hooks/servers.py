"""Opens operations for plain ASGI and WSGI applications, which are built on no framework that is known here."""

from __future__ import annotations

import functools

from metercast.hooks import asgi, wsgi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from metercast.engine import Engine

_FRAMEWORKS = ("starlette", "fastapi", "django", "flask")
_LAYERS = 32


def install_uvicorn(config: Any, engine: Engine) -> None:
    """Wrap the application that uvicorn has loaded."""
    load = config.Config.load

    class Application:
        """An ASGI application and nothing else."""

        def __init__(self, app: Callable[..., Any]) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)

    Application.__call__ = asgi.metered_application(Application.__call__, engine)  # type: ignore[method-assign]

    @functools.wraps(load)
    def loading(self: Any) -> None:
        load(self)
        if not _is_of_a_framework(self.loaded_app):
            self.loaded_app = Application(self.loaded_app)

    config.Config.load = loading


def install_gunicorn(base: Any, engine: Engine) -> None:
    """Wrap the application that gunicorn's workers ask for."""
    wsgi_of = base.BaseApplication.wsgi
    metered = _metered_wsgi(engine)

    @functools.wraps(wsgi_of)
    def asking(self: Any) -> Any:
        return metered(wsgi_of(self))

    base.BaseApplication.wsgi = asking


def install_wsgiref(server: Any, engine: Engine) -> None:
    """Wrap the application that the standard library's WSGI server is given."""
    set_app = server.WSGIServer.set_app
    metered = _metered_wsgi(engine)

    @functools.wraps(set_app)
    def setting(self: Any, application: Any) -> None:
        set_app(self, metered(application))

    server.WSGIServer.set_app = setting


def _metered_wsgi(engine: Engine) -> Callable[[Any], Any]:
    class Application:
        """A WSGI application and nothing else."""

        def __init__(self, app: Callable[..., Any]) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            return self.app(environ, start_response)

    Application.__call__ = wsgi.metered_application(Application.__call__, engine)  # type: ignore[method-assign]

    def metered(app: Any) -> Any:
        # Asynchronous workers of gunicorn call the application as ASGI does.
        return app if not callable(app) or _is_of_a_framework(app) or _is_asynchronous(app) else Application(app)

    return metered


def _is_asynchronous(app: Any) -> bool:
    call = vars(type(app)).get("__call__")
    code = getattr(app, "__code__", None) or getattr(call, "__code__", None)
    return code is not None and bool(code.co_flags & 0x80)


def _is_of_a_framework(app: Any) -> bool:
    """Whether an application, or what its layers of middleware stand before, opens its operations itself."""
    for _ in range(_LAYERS):
        names = {base.__module__.partition(".")[0] for base in type(app).__mro__}
        if not names.isdisjoint(_FRAMEWORKS):
            return True
        if not hasattr(app, "app"):
            return False
        app = app.app
    return False
