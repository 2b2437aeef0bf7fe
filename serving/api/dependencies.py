"""What routes take from the request: the platform, and times in one form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request

from serving.api.problems import ProblemError
from serving.platform import Platform


def platform_of(request: Request) -> Platform:
    """The platform behind this application."""
    platform: Platform = request.app.state.platform
    return platform


PlatformDependency = Annotated[Platform, Depends(platform_of)]


def time_ns(name: str, text: str | None, default_ns: int) -> int:
    """A moment given as ISO 8601 (UTC unless it says otherwise) or Unix seconds; raises a 422 problem for others."""
    if text is None:
        return default_ns
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return round(float(text) * 1e6) * 1_000
        except (ValueError, OverflowError):
            raise ProblemError(
                422, f"{name}={text!r:.60} is no time; use e.g. 2026-11-01T00:00:00Z or Unix seconds"
            ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1e6) * 1_000


def iso(moment_ns: int) -> str:
    """A moment in ISO 8601, UTC, to the microsecond."""
    return datetime.fromtimestamp(moment_ns // 1_000 / 1e6, UTC).isoformat().replace("+00:00", "Z")
