"""GET /v1/plans: the price plans in force."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from serving.api.dependencies import PlatformDependency
from serving.api.security import needs
from serving.api.spend import plan_of
from serving.pricing.plan import Plan

router = APIRouter(tags=["plans"], dependencies=[needs("estimates:read")])


@router.get("/v1/plans")
def get_plans(platform: PlatformDependency) -> dict[str, Any]:
    """All plans."""
    return {"plans": [_document(plan) for plan in platform.plans.values()]}


@router.get("/v1/plans/{plan_id}")
def get_plan(plan_id: str, platform: PlatformDependency) -> dict[str, Any]:
    """One plan."""
    return _document(plan_of(platform, plan_id))


def _document(plan: Plan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "version": plan.version,
        "currency": plan.currency,
        "description": plan.description,
        "charges": [
            {
                "id": charge.id,
                "description": charge.description,
                "meter": charge.meter.id if charge.meter else None,
                "model": type(charge.model).__name__,
            }
            for charge in plan.charges
        ],
    }
