"""GET /v1/live: what happens now, as server-sent events."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from serving.api.anomalies import document
from serving.api.dependencies import PlatformDependency, iso
from serving.platform import Platform

router = APIRouter(tags=["live"])
NANOSECONDS = 1_000_000_000
LONGEST_RESUME_S = 600
PULSE_S = 15.0


@router.get("/v1/live", response_class=StreamingResponse)
async def get_live(
    request: Request,
    platform: PlatformDependency,
    user: str | None = None,
    last_event_id: Annotated[int | None, Header()] = None,
) -> StreamingResponse:
    """Server-sent events: `window` for each that closes (its totals by operation), `anomaly` as it opens or changes.

    The id of a `window` is its end in Unix nanoseconds: with `Last-Event-ID` the stream goes on from there.
    """
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(
        _events(request, platform, user, last_event_id), headers=headers, media_type="text/event-stream"
    )


async def _events(request: Request, platform: Platform, user: str | None, resume_ns: int | None) -> AsyncIterator[str]:
    window_s = platform.settings.windows_s[0]
    seen_ns = resume_ns if resume_ns is not None else platform.worker.closed_until_ns(window_s)
    seen_ns = max(seen_ns, time.time_ns() - LONGEST_RESUME_S * NANOSECONDS)
    told: dict[str, int] = {}
    quiet_since = time.monotonic()
    while not await request.is_disconnected():
        until_ns = platform.worker.closed_until_ns(window_s)
        if until_ns > seen_ns:
            for name, number, data in await asyncio.to_thread(_news, platform, user, seen_ns, until_ns, told):
                yield f"event: {name}\nid: {number}\ndata: {json.dumps(data)}\n\n"
            seen_ns, quiet_since = until_ns, time.monotonic()
        elif time.monotonic() - quiet_since > PULSE_S:
            yield ": still here\n\n"
            quiet_since = time.monotonic()
        await asyncio.sleep(0.2)


def _news(
    platform: Platform, user: str | None, start_ns: int, end_ns: int, told: dict[str, int]
) -> list[tuple[str, int, dict[str, Any]]]:
    """Windows that closed in [start_ns, end_ns) and anomalies that are new or grew since they were told."""
    window_s = platform.settings.windows_s[0]
    frame = platform.history.windows(window_s, start_ns, end_ns, user)
    sums = frame.group_by("window_start", "operation_id").agg(
        pl.col("events").sum(),
        pl.col("cpu_cycles").sum(),
        pl.col("network_bytes").sum(),
        pl.col("disk_bytes").sum(),
        pl.col("units").filter(pl.col("meter") == "executions").sum().alias("executions"),
    )
    news: list[tuple[str, int, dict[str, Any]]] = []
    status = platform.worker.status()
    for (start,), rows in sums.sort("window_start", "operation_id").group_by(["window_start"], maintain_order=True):
        start_of = int(rows["window_start"].cast(pl.Int64)[0])
        data = {"start": iso(start_of), "operations": rows.drop("window_start").to_dicts(), "engine": status}
        news.append(("window", start_of + window_s * NANOSECONDS, data))
        del start
    for anomaly in platform.anomalies.list(user, start_ns=end_ns - LONGEST_RESUME_S * NANOSECONDS):
        if told.get(anomaly.id) != anomaly.last_ns:
            told[anomaly.id] = anomaly.last_ns
            news.append(("anomaly", end_ns, document(anomaly)))
    return news
