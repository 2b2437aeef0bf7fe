"""Carries the current operation into the jobs of thread pools, and so into `run_in_executor` and `to_thread`."""

from __future__ import annotations

import functools

from metercast.hooks.threads import work_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine


def install(thread: ModuleType, engine: Engine) -> None:
    """Wrap `ThreadPoolExecutor.submit`: a job works for the operation that submitted it."""
    submit = thread.ThreadPoolExecutor.submit

    @functools.wraps(submit)
    def submitting(self: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        execution = engine.current.get()
        if execution is None:
            return submit(self, function, *args, **kwargs)
        return submit(self, work_for, engine, execution, function, *args, **kwargs)

    thread.ThreadPoolExecutor.submit = submitting
