"""Carries the current operation into the threads it starts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine
    from metercast.execution import Execution

_POOLS = ("concurrent.futures.thread", "multiprocessing.pool", "anyio._backends._asyncio")


def install(threading: ModuleType, engine: Engine) -> None:
    """Wrap `Thread.start`: the new thread works for the operation that started it, unless it is a pool's worker."""
    start = threading.Thread.start

    def starting(self: Any) -> None:
        execution = engine.current.get()
        if execution is None or not _inherits(self):
            start(self)
            return
        run = self.run

        def run_for_operation() -> None:
            del self.run
            work_for(engine, execution, run)

        self.run = run_for_operation
        start(self)

    starting.__name__, starting.__doc__ = start.__name__, start.__doc__
    threading.Thread.start = starting


def work_for(engine: Engine, execution: Execution, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function in this thread for an execution that another thread opened."""
    token = engine.current.set(execution)
    engine.switch(execution)
    try:
        return function(*args, **kwargs)
    finally:
        engine.switch(None)
        engine.current.reset(token)


def _inherits(thread: Any) -> bool:
    """A pool's worker outlives the operation that happened to start it, and is told the operation job by job."""
    target = getattr(thread, "_target", None)
    return getattr(target, "__module__", "") not in _POOLS and type(thread).__module__ not in _POOLS
