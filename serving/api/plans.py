"""/v1/plans: the price plans in force, their versions, and publishing new ones behind a guard."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from serving.api.billed import period_of, plan_of
from serving.api.dependencies import PlatformDependency, iso, time_ns
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, vendor_only
from serving.estimating.plan_comparison import revenue
from serving.plans.plan_files import PlanError, parse_plan
from serving.platform import Platform
from serving.pricing.plan import Plan

router = APIRouter(tags=["plans"], dependencies=[needs("estimates:read")])
DAY_NS = 86_400_000_000_000


class PlanRequest(BaseModel):
    """The text of a plan file; with ``guard_percent``, how much customers' bills may rise at most."""

    model_config = ConfigDict(extra="forbid")

    yaml: Annotated[str, Field(min_length=1, max_length=200_000)]
    guard_percent: Annotated[Decimal, Field(ge=0, le=100_000, max_digits=12, decimal_places=4)] | None = None
    start: str | None = None
    end: str | None = None


@router.get("/v1/plans")
def get_plans(platform: PlatformDependency) -> dict[str, Any]:
    """All plans."""
    return {"plans": [_document(plan) for plan in platform.plans.values()]}


@router.get("/v1/plans/{plan_id}")
def get_plan(plan_id: str, platform: PlatformDependency) -> dict[str, Any]:
    """One plan."""
    return _document(plan_of(platform, plan_id))


@router.post("/v1/plans", status_code=201, dependencies=[needs("plans:write")])
def post_plan(body: PlanRequest, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Publish a version, for good. With a guard it is refused where it would change customers' bills too much.

    The guard re-rates the usage of all customers on this plan in the period (default: the last 28 days) under the
    version in force and under the new one; above the guard at the 95th percentile nothing is published.
    """
    vendor_only(principal)
    try:
        plan = parse_plan(body.yaml, "plan")
        platform.plans.check(plan)
        report = (
            _guarded(platform, plan, body) if body.guard_percent is not None and plan.id in platform.plans else None
        )
        if report is not None and report["guard"]["exceeded"]:
            raise ProblemError(
                409, f"bills would rise by more than {body.guard_percent} %; nothing was published", comparison=report
            )
        new = platform.plans.publish(plan)
    except PlanError as error:
        raise ProblemError(422, str(error)) from error
    if new:
        platform.audit.record(principal.key_id, "plan.publish", plan.id, version=plan.version, digest=plan.digest)
    return _document(plan) | {"digest": plan.digest, "comparison": report}


@router.get("/v1/plans/{plan_id}/versions")
def get_versions(plan_id: str, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Every version of a plan with its digest; the vendor sees their text, overrides included."""
    plan_of(platform, plan_id)
    return {
        "versions": [
            {
                "version": plan.version,
                "effective_from": iso(plan.effective_from_ns),
                "digest": plan.digest,
                "yaml": plan.text if principal.vendor else None,
            }
            for plan in platform.plans.versions(plan_id)
        ]
    }


def _guarded(platform: Platform, plan: Plan, body: PlanRequest) -> dict[str, Any]:
    now_ns = time.time_ns()
    start_ns, end_ns = time_ns("start", body.start, now_ns - 28 * DAY_NS), time_ns("end", body.end, now_ns)
    users = [user for user in platform.history.users() if platform.commerce.biller.plan_of(user) == plan.id]
    period = period_of(iso(start_ns), iso(end_ns))
    changes = platform.commerce.comparison.changes(platform.plans[plan.id], plan, users, period)
    return revenue(changes, plan.currency, body.guard_percent)


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
