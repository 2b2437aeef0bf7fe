"""The page Live: events as they come, lag, what metering costs, prices now, and the last windows, fed by /v1/live."""

from __future__ import annotations

import time
from urllib.parse import urlencode

import polars as pl
from fastapi import APIRouter
from fastapi.responses import Response

from serving.api.prices import factors_now
from serving.dashboard.rendering import View, ViewDependency, render

router = APIRouter(include_in_schema=False)
SHOWN = 90
"""Windows on the chart."""


@router.get("/live")
def live_page(view: ViewDependency) -> Response:
    """The engine as it stands now; the script goes on from there. A customer sees its own windows only."""
    platform = view.platform
    window_s, whose = platform.settings.windows_s[0], None if view.principal.vendor else view.user
    values = {
        "recent": _recent(view, window_s, whose),
        "engine": platform.status() if view.principal.vendor else None,
        "accepted": platform.committer.accepted_events if view.principal.vendor else None,
        "duplicate": platform.committer.duplicate_events if view.principal.vendor else None,
        "factors": {name: f"{factor:f}" for name, factor in factors_now(platform, view.plan, time.time_ns()).items()},
        "window_s": window_s,
        "stream": f"/v1/live?{urlencode({'user': whose})}" if whose else "/v1/live",
    }
    return render(view, "live.html", values)


def _recent(view: View, window_s: int, user: str | None) -> list[list[float]]:
    """[start in Unix seconds, events] of the last windows that closed."""
    until_ns = view.platform.worker.closed_until_ns(window_s)
    frame = view.platform.history.windows(window_s, until_ns - SHOWN * window_s * 1_000_000_000, until_ns, user)
    sums = frame.group_by("window_start").agg(pl.col("events").sum()).sort("window_start")
    return [[at.timestamp(), events] for at, events in sums.iter_rows()]
