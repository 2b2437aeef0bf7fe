"""Moments as callers give them, and as the server takes them."""

from __future__ import annotations

from datetime import datetime

Moment = str | float | datetime
"""ISO 8601 text, Unix seconds, or an aware datetime."""


def moment_text(given: Moment | None) -> str | None:
    """The moment as text; raises ValueError for a datetime without a time zone."""
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise ValueError(f"{given} has no time zone; give it one, e.g. tzinfo=timezone.utc")
        return given.isoformat()
    return repr(float(given))
