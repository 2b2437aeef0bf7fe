"""Charges each step of an event loop to the operation whose task or callback it runs."""

from __future__ import annotations

from metercast.native import compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine


def install(events: ModuleType, engine: Engine) -> None:
    """Replace `asyncio.Handle._run`, which runs every callback and every task step of the standard loops."""
    run = events.Handle._run
    native = compiled(engine, "Step")
    report = _reporter(events)
    events.Handle._run = _step(engine, run, report) if native is None else native(engine, run, report)


def _step(engine: Engine, run: Callable[[Any], None], report: Callable[[Any, BaseException], None]) -> Any:
    current, switch, local = engine.current, engine.switch, engine.local

    def running(self: Any) -> None:
        context = self._context
        execution = context.get(current)
        try:
            state = local.state
        except AttributeError:
            state = engine.state_of_thread()
        if state.charged is not execution:
            switch(execution)
        try:
            context.run(self._callback, *self._args)  # as `Handle._run` has it
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            report(self, error)
        finally:
            outside = current.get()
            if state.charged is not outside:
                switch(outside)
            self = None  # which an error's traceback would keep

    running.__name__, running.__doc__ = run.__name__, run.__doc__
    return running


def _reporter(events: ModuleType) -> Callable[[Any, BaseException], None]:
    """Tell the loop of an error in a callback, in the words of `Handle._run`."""
    describe = events.format_helpers._format_callback_source

    def report(handle: Any, error: BaseException) -> None:
        context = {
            "message": f"Exception in callback {describe(handle._callback, handle._args)}",
            "exception": error,
            "handle": handle,
        }
        if handle._source_traceback:
            context["source_traceback"] = handle._source_traceback
        handle._loop.call_exception_handler(context)

    return report
