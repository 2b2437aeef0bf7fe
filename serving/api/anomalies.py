"""GET /v1/anomalies and the feedback on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from serving.access.principal import Principal
from serving.alerts.anomaly import EVERYONE, Anomaly
from serving.api.dependencies import PlatformDependency, iso, time_ns
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.api.tabular import read_cursor, write_cursor
from serving.platform import Platform

router = APIRouter(tags=["anomalies"], dependencies=[needs("usage:read")])
MOST = 10_000


class Feedback(BaseModel):
    """What someone thinks of an anomaly: useful, expected, planned or wrong."""

    verdict: str


@router.get("/v1/anomalies")
def get_anomalies(
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    operation: str | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Anomalies, latest first, each with what it cost and why it was found.

    A tenant sees its own, and those of everyone only where they are of operations that it uses, without the numbers.
    """
    user = visible_user(principal, platform, user)
    start_ns = time_ns("start", start, 0) if start else None
    end_ns = time_ns("end", end, 0) if end else None
    skip = 0
    if cursor is not None:
        at, skip = (int(value) for value in _position(cursor))
        end_ns = at + 1
    found = platform.anomalies.list(user, operation, start_ns, end_ns, limit + skip + 1)[skip:]
    following = None
    if len(found) > limit:
        found = found[:limit]
        at = found[-1].started_ns
        same = sum(one.started_ns == at for one in found) + (skip if at + 1 == end_ns else 0)
        following = write_cursor([at, same])
    return {"anomalies": [document(one) for one in visible(principal, platform, found)], "next": following}


@router.post("/v1/anomalies/{anomaly_id}/feedback", status_code=204)
def post_feedback(anomaly_id: str, body: Feedback, platform: PlatformDependency, principal: Caller) -> None:
    """Keep a verdict; a tenant judges its own anomalies only."""
    mine = principal.vendor or any(
        one.id == anomaly_id and one.user == principal.tenant
        for one in platform.anomalies.list(principal.tenant, limit=MOST)
    )
    try:
        if not mine or not platform.anomalies.feedback(anomaly_id, body.verdict):
            raise ProblemError(404, f"no anomaly {anomaly_id!r:.40}; GET /v1/anomalies lists those there are")
    except ValueError as error:
        raise ProblemError(422, str(error)) from error
    platform.audit.record(principal.key_id, "anomaly.feedback", anomaly_id, verdict=body.verdict)


def visible(principal: Principal, platform: Platform, found: list[Anomaly]) -> list[Anomaly]:
    """What a caller may see of these: sums over all tenants are the vendor's.

    That an operation is out of the ordinary for everyone is told to a tenant only where enough others use it.
    """
    if principal.vendor:
        return found
    shared = [one for one in found if one.user == EVERYONE]
    used = _operations(platform, str(principal.tenant)) if shared else frozenset()
    used &= platform.history.common_operations(platform.settings.min_group) if used else frozenset()
    return [
        one
        if one.user != EVERYONE
        else replace(one, observed=0.0, expected=(0.0, 0.0, 0.0), cost=None, currency="", shares={})
        for one in found
        if one.user in (principal.tenant, EVERYONE) and (one.user != EVERYONE or one.operation in used)
    ]


def document(anomaly: Anomaly) -> dict[str, Any]:
    """An anomaly as JSON."""
    low, middle, high = anomaly.expected
    hidden = anomaly.user == EVERYONE and anomaly.observed == 0.0
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
        "observed": None if hidden else anomaly.observed,
        "expected": None if hidden else {"low": low, "middle": middle, "high": high},
        "excess": []
        if hidden
        else [
            {"microOperationType": micro, "resource": resource, "amount": amount}
            for (micro, resource), amount in anomaly.excess.items()
        ],
        "cost": str(anomaly.cost) if anomaly.cost is not None else None,
        "costPerHour": str(anomaly.cost_per_hour) if anomaly.cost_per_hour is not None else None,
        "currency": anomaly.currency or None,
        "kind": anomaly.kind,
        "view": anomaly.view or None,
        "causes": []
        if hidden
        else [{"what": what, "name": name, "share": round(share, 4)} for what, name, share in anomaly.causes],
        "paged": iso(anomaly.paged_ns) if anomaly.paged_ns is not None else None,
        "verdict": anomaly.verdict or None,
        "reason": f"{anomaly.operation} used more than usual for everyone" if hidden else anomaly.reason,
    }


def _operations(platform: Platform, tenant: str) -> frozenset[str]:
    totals = platform.history.totals(platform.settings.windows_s[-1], 0, 2**62, tenant)
    return frozenset(totals["operation_id"].to_list())


def _position(cursor: str) -> list[int]:
    values = read_cursor(cursor, 2)
    if not all(isinstance(value, int) and 0 <= value < 2**62 for value in values) or values[1] > MOST:
        raise ProblemError(422, f"cursor={cursor!r:.60} was not made here; take `next` of the page before, unchanged")
    return values
