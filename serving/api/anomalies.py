"""GET /v1/anomalies and the feedback on them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from serving.alerts.anomaly import Anomaly
from serving.api.dependencies import PlatformDependency, iso, time_ns
from serving.api.problems import ProblemError

router = APIRouter(tags=["anomalies"])


class Feedback(BaseModel):
    """What someone thinks of an anomaly: useful, expected or wrong."""

    verdict: str


@router.get("/v1/anomalies")
def get_anomalies(
    platform: PlatformDependency,
    user: str | None = None,
    operation: str | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> dict[str, Any]:
    """Anomalies, latest first, each with what it cost and why it was found."""
    start_ns = time_ns("start", start, 0) if start else None
    end_ns = time_ns("end", end, 0) if end else None
    found = platform.anomalies.list(user, operation, start_ns, end_ns, limit)
    return {"anomalies": [document(anomaly) for anomaly in found]}


@router.post("/v1/anomalies/{anomaly_id}/feedback", status_code=204)
def post_feedback(anomaly_id: str, body: Feedback, platform: PlatformDependency) -> None:
    """Keep a verdict."""
    try:
        if not platform.anomalies.feedback(anomaly_id, body.verdict):
            raise ProblemError(404, f"no anomaly {anomaly_id!r:.40}; GET /v1/anomalies lists those there are")
    except ValueError as error:
        raise ProblemError(422, str(error)) from error


def document(anomaly: Anomaly) -> dict[str, Any]:
    """An anomaly as JSON."""
    low, middle, high = anomaly.expected
    return {
        "id": anomaly.id,
        "userID": anomaly.user,
        "operationID": anomaly.operation,
        "microOperationType": anomaly.micro_operation_type,
        "resource": anomaly.resource,
        "started": iso(anomaly.started_ns),
        "last": iso(anomaly.last_ns),
        "ended": iso(anomaly.ended_ns) if anomaly.ended_ns is not None else None,
        "score": anomaly.score,
        "observed": anomaly.observed,
        "expected": {"low": low, "middle": middle, "high": high},
        "excess": [
            {"microOperationType": micro, "resource": resource, "amount": amount}
            for (micro, resource), amount in anomaly.excess.items()
        ],
        "cost": str(anomaly.cost) if anomaly.cost is not None else None,
        "currency": anomaly.currency or None,
        "verdict": anomaly.verdict or None,
        "reason": anomaly.reason,
    }
