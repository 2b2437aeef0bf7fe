"""/healthz, /readyz and /metrics: is it alive, can it work, and how is it doing."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from serving.api.dependencies import PlatformDependency
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs
from serving.platform import Platform

router = APIRouter(tags=["health"])

Row = tuple[str, str, str, Any]
"""Name, kind, meaning and value of a figure."""


@router.get("/healthz")
def get_health() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def get_ready(platform: PlatformDependency) -> dict[str, Any]:
    """The engine works; 503 with the reason where it does not."""
    status = platform.worker.status()
    if status["problem"]:
        raise ProblemError(503, str(status["problem"]))
    return {"status": "ready"}


@router.get("/metrics", response_class=PlainTextResponse, dependencies=[needs("usage:read")])
def get_metrics(request: Request, platform: PlatformDependency, principal: Caller) -> PlainTextResponse:
    """Counters and gauges in the Prometheus text format, for the vendor."""
    if not principal.vendor:
        raise ProblemError(403, "these figures are of all tenants; a vendor's key is needed")
    status = platform.worker.status()
    rows: list[Row] = [
        ("metercast_events_accepted_total", "counter", "Events made durable", platform.committer.accepted_events),
        ("metercast_events_duplicate_total", "counter", "Events received again", platform.committer.duplicate_events),
        ("metercast_events_late_total", "counter", "Windows revised by late events", status["late_events"]),
        (
            "metercast_engine_leads",
            "gauge",
            "Whether the engine of this server is the one that runs",
            int(platform.worker.leads),
        ),
        ("metercast_engine_lag_batches", "gauge", "Batches in the log not yet taken in", status["lag"]),
        ("metercast_engine_events_per_second", "gauge", "Events taken in a second", status["events_per_s"]),
        (
            "metercast_engine_watermark_seconds",
            "gauge",
            "Event time up to which windows close",
            status["watermark_ns"] / 1e9,
        ),
        (
            "metercast_ledger_difference",
            "gauge",
            "Largest difference between the ledger and an invoice at its closing, in its currency",
            platform.commerce.invoices.largest_difference,
        ),
        ("metercast_estimates_cached_total", "counter", "Estimates answered from memory", platform.estimates.hits),
        ("metercast_estimates_computed_total", "counter", "Estimates computed", platform.estimates.misses),
    ]
    rows += _accuracy(platform)
    lines = [f"# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value}" for name, kind, about, value in rows]
    lines += request.app.state.requests.lines()
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _accuracy(platform: Platform) -> list[Row]:
    """The champion's rolling loss beside its backtest's, NaN before they are known, and whether it has drifted."""
    drift = platform.drift.verdict()
    loss, reference = (drift.loss, drift.reference) if drift is not None else (None, None)
    return [
        ("metercast_model_loss", "gauge", "Scaled pinball loss of the champion over its latest origins", _told(loss)),
        ("metercast_model_loss_reference", "gauge", "The same loss in the champion's backtest", _told(reference)),
        (
            "metercast_model_drifted",
            "gauge",
            "Whether the champion surely forecasts worse than in its backtest: train anew",
            int(drift is not None and drift.status == "drifted"),
        ),
    ]


def _told(value: float | None) -> str:
    """A figure as Prometheus takes it."""
    return "NaN" if value is None else f"{value:.6g}"
