"""Charges each step of an event loop to the operation whose task or callback it runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from metercast.engine import Engine


def install(events: ModuleType, engine: Engine) -> None:
    """Wrap `asyncio.Handle._run`, which runs every callback and every task step of the standard loops."""
    run, current, switch, charged = events.Handle._run, engine.current, engine.switch, engine.charged

    def running(self: Any) -> None:
        execution = self._context.get(current)
        if charged() is not execution:
            switch(execution)
        try:
            run(self)
        finally:
            outside = current.get()
            if charged() is not outside:
                switch(outside)

    running.__name__, running.__doc__ = run.__name__, run.__doc__
    events.Handle._run = running
