"""What is wrong with a configuration, told so that it can be mended: every place, what was found, what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def faults(error: ValidationError, kind: type[BaseModel]) -> list[str]:
    """One line a fault of a document that is no ``kind``."""
    return [_fault(one, kind) for one in error.errors()]


def _fault(one: ErrorDetails, kind: type[BaseModel]) -> str:
    where = ".".join(str(step) for step in one["loc"])
    if one["type"] == "extra_forbidden":
        return f"{where}: there is no such key{_instead(kind, one['loc'])}"
    if one["type"] == "value_error":
        return f"{where}: {one['ctx']['error']}" if where else str(one["ctx"]["error"])
    if one["type"] in ("model_type", "model_attributes_type"):
        keys = f"keys and values are needed (found {one['input']!r:.80})"
        return f"{where}: {keys}" if where else keys
    message = one["msg"].replace("Input should", "it should")
    return f"{where}: {message} (found {one['input']!r:.80})"


def _instead(kind: type[BaseModel], place: Sequence[int | str]) -> str:
    """The keys that are allowed there, the likeliest first; nothing where the place is no model of its own."""
    model: Any = kind
    for step in place[:-1]:
        fields: Mapping[str, Any] = getattr(model, "model_fields", {})
        model = fields[str(step)].annotation if str(step) in fields else None
    allowed = sorted(getattr(model, "model_fields", {}))
    near = get_close_matches(str(place[-1]), allowed, 1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{meant} Allowed: {', '.join(allowed)}" if meant else f"; allowed: {', '.join(allowed)}" if allowed else ""
