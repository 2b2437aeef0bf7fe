"""Interception of the standard library: each hook module patches one area and is handed the engine it reports to."""

from __future__ import annotations

from importlib import import_module

from metercast.hooks.imports import when_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from metercast.engine import Engine

# (module of the program or standard library, hook module that patches it): patched when, and only if, it is imported.
HOOKS = (
    ("io", "metercast.hooks.files"),
    ("threading", "metercast.hooks.threads"),
    ("concurrent.futures.thread", "metercast.hooks.executors"),
    ("socket", "metercast.hooks.sockets"),
    ("ssl", "metercast.hooks.tls"),
    ("asyncio.events", "metercast.hooks.loops"),
    ("sqlite3.dbapi2", "metercast.hooks.sqlite"),
    ("http.server", "metercast.hooks.http_server"),
)

_installed = False


def install(engine: Engine) -> None:
    """Patch every area of `HOOKS` now or on its import; a second call does nothing."""
    global _installed  # noqa: PLW0603 -- the patched modules are global as well
    if _installed:
        return
    _installed = True
    for target, hook in HOOKS:
        when_imported(target, _patcher(hook, engine))


def _patcher(hook: str, engine: Engine) -> Callable[[ModuleType], None]:
    def patch(module: ModuleType) -> None:
        import_module(hook).install(module, engine)

    return patch
