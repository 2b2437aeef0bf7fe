"""Meters the worker processes that multiprocessing starts anew, as it does by the method `spawn`."""

from __future__ import annotations

import functools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from metercast.engine import Engine


def install(spawn: Any, engine: Engine) -> None:
    """Wrap `get_command_line`: the new interpreter starts metering, by the METERCAST_* variables, before its work."""
    command_line = spawn.get_command_line

    @functools.wraps(command_line)
    def metering(**named: Any) -> list[str]:
        command: list[str] = command_line(**named)
        if engine.is_on and "-c" in command:
            place = command.index("-c") + 1
            command[place] = f"import metercast; metercast.start(); {command[place]}"
        return command

    spawn.get_command_line = metering
