"""Has the libraries that a program loads through ctypes and cffi intercepted before their first call."""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine


def install_ctypes(ctypes: Any, engine: Engine) -> None:
    """Wrap the making of `ctypes.CDLL`, through which every library of ctypes is loaded."""
    _intercept_after(ctypes.CDLL, "__init__", engine)


def install_cffi(api: ModuleType, engine: Engine) -> None:
    """Wrap `FFI.dlopen`."""
    _intercept_after(api.FFI, "dlopen", engine)


def _intercept_after(owner: Any, name: str, engine: Engine) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def loading(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        engine.intercept()
        return result

    setattr(owner, name, loading)
