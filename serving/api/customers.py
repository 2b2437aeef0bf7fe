"""/v1/customers: the plan of a customer, the highest factor it pays, and prepaid credits."""

from __future__ import annotations

import time
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from serving.accounts.customer_terms import Terms
from serving.api.billed import period_of, plan_of
from serving.api.dependencies import PlatformDependency, iso
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, vendor_only, visible_user
from serving.platform import Platform
from serving.pricing.modifiers.credit import Credit

router = APIRouter(tags=["customers"], dependencies=[needs("estimates:read")])


class TermsRequest(BaseModel):
    """Plan and own maximum factor; null takes the default plan, and what the plan caps."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"maximum_factor": "1.20"}]})

    plan: str | None = None
    maximum_factor: Annotated[Decimal, Field(ge=1, max_digits=12, decimal_places=4)] | None = None


class CreditRequest(BaseModel):
    """A prepaid credit; of several the lowest priority is used first, then what expires first."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(min_length=1, max_length=100)]
    amount: Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=6)]
    priority: Annotated[int, Field(ge=0, le=1_000)] = 0
    expires: AwareDatetime | None = None


@router.get("/v1/customers/{user}")
def get_customer(user: str, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """What holds for one customer."""
    visible_user(principal, platform, user)
    return _document(platform, user)


@router.put("/v1/customers/{user}")
def put_customer(user: str, body: TermsRequest, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Set terms; a customer sets its own maximum factor, the plan is the vendor's to set."""
    visible_user(principal, platform, user)
    before = platform.commerce.terms.of(user)
    if body.plan is not None:
        plan_of(platform, body.plan)
    chosen = body.plan if principal.vendor else before.plan_id
    if not principal.vendor and body.plan not in (None, before.plan_id):
        raise ProblemError(403, "the vendor sets a customer's plan; this key may set maximum_factor")
    platform.commerce.terms.put(user, Terms(chosen, body.maximum_factor))
    platform.audit.record(
        principal.key_id, "customer.terms", user, plan=chosen, maximum_factor=str(body.maximum_factor)
    )
    return _document(platform, user)


@router.post("/v1/customers/{user}/credits", status_code=201, dependencies=[needs("plans:write")])
def post_credit(user: str, body: CreditRequest, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Grant a prepaid credit in the currency of the customer's plan."""
    vendor_only(principal)
    visible_user(principal, platform, user)
    plan_id = platform.commerce.biller.plan_of(user)
    credit = Credit(body.id, body.amount, body.priority, None if body.expires is None else _ns(body.expires))
    try:
        platform.commerce.terms.grant(user, credit, platform.commerce.biller.currency_of(plan_id), time.time_ns())
    except ValueError as error:
        raise ProblemError(409, str(error)) from error
    platform.audit.record(principal.key_id, "customer.credit", user, credit=body.id, amount=str(body.amount))
    return _document(platform, user)


def _document(platform: Platform, user: str) -> dict[str, Any]:
    terms, plan_id = platform.commerce.terms.of(user), platform.commerce.biller.plan_of(user)
    left = platform.commerce.accruals.credits(user, plan_id, period_of(None, None))
    return {
        "user": user,
        "plan": plan_id,
        "maximum_factor": None if terms.maximum_factor is None else str(terms.maximum_factor),
        "currency": platform.commerce.biller.currency_of(plan_id),
        "credits": [
            {
                "id": one.id,
                "left": str(one.balance),
                "priority": one.priority,
                "expires": None if one.expires_ns is None else iso(one.expires_ns),
            }
            for one in left
        ],
    }


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000
