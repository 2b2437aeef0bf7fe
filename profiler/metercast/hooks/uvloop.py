"""Charges the steps of uvloop's tasks and callbacks to their operations."""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine


def install(uvloop: ModuleType, engine: Engine) -> None:
    """Wrap `Loop.call_soon`, through which every step of a task passes; it runs in the context it was called with."""
    loop = uvloop.Loop
    call_soon = loop.call_soon

    def step(callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        execution = engine.current.get()
        before = engine.charged()
        if before is execution:
            callback(*args)
            return
        engine.switch(execution)
        try:
            callback(*args)
        finally:
            engine.switch(before)

    @functools.wraps(call_soon)
    def calling(self: Any, callback: Callable[..., Any], *args: Any, context: Any = None) -> Any:
        return call_soon(self, step, callback, args, context=context)

    loop.call_soon = calling
