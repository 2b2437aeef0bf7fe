"""Carries the current operation into AnyIO's worker threads, in which Starlette and FastAPI run plain functions."""

from __future__ import annotations

import functools

from metercast.hooks.threads import work_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine


def install(backend: ModuleType, engine: Engine) -> None:
    """Wrap `run_sync_in_worker_thread`: a job works for the operation that asked for it."""
    run = backend.AsyncIOBackend.run_sync_in_worker_thread.__func__

    @functools.wraps(run)
    async def running(cls: Any, func: Callable[..., Any], args: Any, *more: Any, **named: Any) -> Any:
        execution = engine.current.get()
        if execution is None:
            return await run(cls, func, args, *more, **named)
        return await run(cls, work_for, (engine, execution, func, *args), *more, **named)

    backend.AsyncIOBackend.run_sync_in_worker_thread = classmethod(running)
