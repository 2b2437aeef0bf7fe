"""What the compiled engine has for a program's hot paths in the place of Python functions."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from metercast.engine import Engine


def compiled(engine: Engine, name: str) -> Any:
    """The compiled form of that name; None where the engine is written in Python."""
    return getattr(sys.modules[type(engine).__module__], name) if is_compiled(engine) else None


def is_compiled(engine: Engine) -> bool:
    """Whether an engine is the compiled one."""
    return type(engine).__module__ == "metercast._engine"
