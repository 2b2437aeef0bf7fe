"""GET /v1/usage, /v1/users and /v1/operations: what was used, by whom, doing what."""

from __future__ import annotations

import time
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query

from features.windows import KEYS, RESOURCES
from serving.api.dependencies import PlatformDependency, iso, known_user, time_ns
from serving.api.problems import ProblemError
from serving.platform import Platform

router = APIRouter(tags=["usage"])


@router.get("/v1/users")
def get_users(platform: PlatformDependency) -> dict[str, list[str]]:
    """Everyone who ever used anything."""
    return {"users": platform.history.users()}


@router.get("/v1/usage")
def get_usage(
    platform: PlatformDependency,
    user: str | None = None,
    operation: str | None = None,
    micro_operation_type: Annotated[str | None, Query(alias="microOperationType")] = None,
    window_s: int | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
) -> dict[str, Any]:
    """Windows of usage in time order; the default span is the last hour."""
    length = _window_s(platform, window_s)
    end_ns = time_ns("end", end, time.time_ns())
    start_ns = time_ns("start", start, end_ns - 3_600_000_000_000)
    if user is not None:
        known_user(platform, user)
    frame = platform.history.windows(length, start_ns, end_ns, user, operation, micro_operation_type)
    rows = frame.head(limit).with_columns(pl.col("window_start").cast(pl.Int64)).iter_rows(named=True)
    return {
        "window_s": length,
        "windows": [row | {"window_start": iso(row["window_start"])} for row in rows],
        "truncated": frame.height > limit,
    }


@router.get("/v1/operations")
def get_operations(
    platform: PlatformDependency, user: str | None = None, start: str | None = None, end: str | None = None
) -> dict[str, Any]:
    """Totals by operation and micro-operation over a span (default: everything kept)."""
    if user is not None:
        known_user(platform, user)
    length = _window_s(platform, None)
    start_ns, end_ns = time_ns("start", start, 0), time_ns("end", end, 2**62)
    frame = platform.history.windows(length, start_ns, end_ns, user)
    sums = frame.group_by(*KEYS[1:]).agg(pl.col("events", *RESOURCES).sum()).sort("execution_time_ms", descending=True)
    return {"operations": list(sums.iter_rows(named=True))}


def _window_s(platform: Platform, asked: int | None) -> int:
    kept = platform.settings.windows_s
    if asked is not None and asked not in kept:
        raise ProblemError(422, f"window_s={asked} is not kept; one of {', '.join(map(str, kept))}")
    return asked or kept[0]
