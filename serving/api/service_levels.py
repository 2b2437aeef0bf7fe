"""GET /v1/service-levels: what was promised and measured, window by window where a promise was broken."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from serving.accounts.service_levels import Measured
from serving.api.dependencies import PlatformDependency, iso
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.api.spend import period_of, plan_of

MOST_BREACHES = 1_000
router = APIRouter(tags=["service levels"], dependencies=[needs("usage:read")])


@router.get("/v1/service-levels")
def get_service_levels(
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    plan: str | None = None,
    start: str | None = None,
    end: str | None = None,
) -> dict[str, Any]:
    """The levels of a user's plan measured from the user's events in a period (default: this month)."""
    whom = visible_user(principal, platform, user)
    if whom is None:
        raise ProblemError(422, "user is missing; GET /v1/users lists those there are")
    chosen = plan_of(platform, plan or platform.commerce.biller.plan_of(whom)).of_customer(whom)
    period = period_of(start, end)
    measured = platform.commerce.service_levels(chosen, whom, period, platform.log.last_offset())
    return {
        "user": whom,
        "plan": {"id": chosen.id, "version": chosen.version},
        "period": {"start": iso(period.start_ns), "end": iso(period.end_ns)},
        "levels": [_document(one) for one in measured],
    }


def _document(measured: Measured) -> dict[str, Any]:
    level = measured.level
    return {
        "id": level.id,
        "promises": {name: str(bound) for name, bound in level.promises.items()},
        "windows": measured.windows,
        "window_s": level.window_s,
        "availability_percent": str(measured.availability),
        "credit_percent": str(level.percent(measured.availability)),
        "breaches": [
            {
                "start": iso(breach.start_ns),
                "end": iso(breach.end_ns),
                "measure": breach.measure,
                "measured": str(breach.measured),
                "promised": str(breach.promised),
            }
            for breach in measured.breaches[:MOST_BREACHES]
        ],
    }
