"""GET /v1/usage, /v1/users and /v1/operations: what was used, by whom, doing what."""

from __future__ import annotations

import time
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from features.windows import KEYS, RESOURCES
from serving.api.dependencies import PlatformDependency, time_ns
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.api.tabular import CONTENT, page, read_cursor, table
from serving.platform import Platform

router = APIRouter(tags=["usage"], dependencies=[needs("usage:read")])
_ORDER = ("window_start", *KEYS)


@router.get("/v1/users")
def get_users(platform: PlatformDependency, principal: Caller) -> dict[str, list[str]]:
    """Everyone who ever used anything; a tenant sees itself."""
    return {"users": platform.history.users() if principal.vendor else [str(principal.tenant)]}


@router.get("/v1/usage", responses=CONTENT)
def get_usage(
    request: Request,
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    operation: str | None = None,
    micro_operation_type: Annotated[str | None, Query(alias="microOperationType")] = None,
    window_s: int | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
    cursor: str | None = None,
) -> Response:
    """Windows of usage in time order; the default span is the last hour."""
    user = visible_user(principal, platform, user)
    length = window_length(platform, window_s)
    end_ns = time_ns("end", end, time.time_ns())
    start_ns = time_ns("start", start, end_ns - 3_600_000_000_000)
    if cursor is not None:
        start_ns = max(start_ns, _position_ns(cursor))
    frame = platform.history.windows(length, start_ns, end_ns, user, operation, micro_operation_type)
    rows, following = page(frame, _ORDER, cursor, limit)
    return table(request, "windows", rows, {"window_s": length, "next": following})


@router.get("/v1/operations", responses=CONTENT)
def get_operations(
    request: Request,
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    start: str | None = None,
    end: str | None = None,
) -> Response:
    """Totals by operation and micro-operation over a span (default: everything kept)."""
    user = visible_user(principal, platform, user)
    length = platform.settings.windows_s[-1]
    start_ns, end_ns = time_ns("start", start, 0), time_ns("end", end, 2**62)
    if start or end:
        length = window_length(platform, None)
    totals = platform.history.totals(length, start_ns, end_ns, user)
    sums = totals.group_by(*KEYS[1:]).agg(pl.col("events", *RESOURCES).sum())
    return table(request, "operations", sums.sort("execution_time_ms", *KEYS[1:], descending=True), {})


def window_length(platform: Platform, asked: int | None) -> int:
    """A window length that is kept; raises a 422 problem for others."""
    kept = platform.settings.windows_s
    if asked is not None and asked not in kept:
        raise ProblemError(422, f"window_s={asked} is not kept; one of {', '.join(map(str, kept))}")
    return asked or kept[0]


def _position_ns(cursor: str) -> int:
    position: Any = read_cursor(cursor, len(_ORDER))[0]
    if not isinstance(position, int) or not 0 <= position < 2**63:
        raise ProblemError(422, f"cursor={cursor!r:.60} was not made here; take `next` of the page before, unchanged")
    return position
