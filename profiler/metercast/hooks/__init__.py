"""Interception of the standard library: each hook module patches one area and is handed the engine it reports to."""

from __future__ import annotations

from importlib import import_module

from metercast.hooks.imports import when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine

# (module of the program, hook module, its function): patched when, and only if, it is imported.
HOOKS = (
    ("io", "metercast.hooks.files", "install"),
    ("threading", "metercast.hooks.threads", "install"),
    ("concurrent.futures.thread", "metercast.hooks.executors", "install"),
    ("socket", "metercast.hooks.sockets", "install"),
    ("ssl", "metercast.hooks.tls", "install"),
    ("asyncio.events", "metercast.hooks.loops", "install"),
    ("sqlite3.dbapi2", "metercast.hooks.sqlite", "install"),
    ("http.server", "metercast.hooks.http_server", "install"),
    ("anyio._backends._asyncio", "metercast.hooks.anyio_threads", "install"),
    ("multiprocessing.process", "metercast.hooks.processes", "install"),
    ("multiprocessing.pool", "metercast.hooks.processes", "install_pool"),
    ("multiprocessing.spawn", "metercast.hooks.processes", "install_spawn"),
    ("multiprocessing.forkserver", "metercast.hooks.processes", "install_fork_server"),
    ("concurrent.futures.process", "metercast.hooks.processes", "install_executor"),
    ("uvloop", "metercast.hooks.uvloop", "install"),
    ("ctypes", "metercast.hooks.libraries", "install_ctypes"),
    ("cffi.api", "metercast.hooks.libraries", "install_cffi"),
    ("starlette.applications", "metercast.hooks.asgi", "install_application"),
    ("starlette.routing", "metercast.hooks.asgi", "install_routes"),
    ("fastapi.routing", "metercast.hooks.asgi", "install_fastapi_routes"),
    ("flask.app", "metercast.hooks.wsgi", "install_flask"),
    ("uvicorn.config", "metercast.hooks.servers", "install_uvicorn"),
    ("gunicorn.app.base", "metercast.hooks.servers", "install_gunicorn"),
    ("wsgiref.simple_server", "metercast.hooks.servers", "install_wsgiref"),
    ("celery.signals", "metercast.hooks.celery", "install"),
    ("django.core.handlers.asgi", "metercast.hooks.asgi", "install_django"),
    ("django.core.handlers.wsgi", "metercast.hooks.wsgi", "install_django"),
    ("django.core.handlers.base", "metercast.hooks.wsgi", "install_django_routes"),
)

BYTES = ("io", "socket", "ssl", "sqlite3.dbapi2")
"""Areas whose hooks count bytes; the compiled engine sees these below, where they cross to the kernel."""

problems: list[str] = []
"""Areas that could not be patched, each with the reason; what happens there is not seen, and the program goes on."""

_installed = False


def install(engine: Engine) -> None:
    """Patch every area of `HOOKS` now or on its import; a second call does nothing."""
    global _installed  # noqa: PLW0603 -- the patched modules are global as well
    if _installed:
        return
    _installed = True
    is_below = engine.intercept()
    if is_below:
        _intercept_after_loading(engine)
    for target, hook, function in HOOKS:
        if is_below and target in BYTES:
            continue
        when_imported(target, _patcher(hook, function, engine))


def count_allocations(engine: Engine) -> None:
    """Count the bytes that the interpreter, and NumPy where it is imported, allocate for operations."""
    if engine.count_allocations():
        when_imported("numpy", _patcher("metercast.hooks.numpy_arrays", "install", engine))


def _intercept_after_loading(engine: Engine) -> None:
    """Libraries that an import brings in are intercepted before their first call."""
    from importlib.machinery import ExtensionFileLoader

    create = ExtensionFileLoader.create_module

    def creating(self: Any, spec: Any) -> Any:
        module = create(self, spec)
        engine.intercept()
        return module

    ExtensionFileLoader.create_module = creating  # type: ignore[method-assign]


def _patcher(hook: str, function: str, engine: Engine) -> Callable[[ModuleType], None]:
    def patch(module: ModuleType) -> None:
        try:
            getattr(import_module(hook), function)(module, engine)
        except Exception as error:  # a library of another version than those known here
            problems.append(f"{module.__name__}: {type(error).__name__}: {error}")

    return patch
