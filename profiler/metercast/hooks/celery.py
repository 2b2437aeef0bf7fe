"""Opens an operation for every Celery task, named as the task is, and has who asked for it pay."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Token
    from typing import Any

    from metercast.engine import Engine
    from metercast.execution import Execution

HEADER = "metercast_user"
"""Name of the message header that carries the user from the sender of a task to its worker."""


def install(signals: Any, engine: Engine) -> None:
    """Listen to the signals before and after each task, and before one is sent."""
    running: dict[Any, tuple[Execution, Token[Execution | None]]] = {}

    def before_publish(headers: Any = None, **_: Any) -> None:
        execution = engine.current.get()
        user = execution.user if execution is not None else engine.user.get()
        if engine.is_on and user and user != engine.default_user and isinstance(headers, dict):
            headers.setdefault(HEADER, user)

    def before_task(task_id: Any = None, task: Any = None, **_: Any) -> None:
        if engine.is_on:
            execution = engine.open(task.name, str(getattr(task.request, HEADER, None) or ""))
            running[task_id] = execution, engine.current.set(execution)

    def after_task(task_id: Any = None, **_: Any) -> None:
        execution, token = running.pop(task_id, (None, None))
        if execution is None or token is None:
            return
        engine.close(execution)
        try:
            engine.current.reset(token)
        except ValueError:  # of another context, as of a greenlet's
            engine.current.set(execution.parent)

    signals.before_task_publish.connect(before_publish, weak=False)
    signals.task_prerun.connect(before_task, weak=False)
    signals.task_postrun.connect(after_task, weak=False)
