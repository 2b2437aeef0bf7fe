"""GET /v1/service-levels: what was promised and measured, window by window where a promise was broken."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from serving.accounts.service_levels import Measured
from serving.api.billed import BilledDependency
from serving.api.dependencies import PlatformDependency, iso
from serving.api.security import needs

MOST_BREACHES = 1_000
router = APIRouter(tags=["service levels"], dependencies=[needs("usage:read")])


@router.get("/v1/service-levels")
def get_service_levels(
    platform: PlatformDependency,
    billed: BilledDependency,
) -> dict[str, Any]:
    """The levels of a user's plan measured from the user's events in a period (default: this month)."""
    chosen = billed.plan.of_customer(billed.user)
    measured = platform.commerce.service_levels(chosen, billed.user, billed.period, platform.log.last_offset())
    return {
        "user": billed.user,
        "plan": {"id": chosen.id, "version": chosen.version},
        "period": billed.span(),
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
