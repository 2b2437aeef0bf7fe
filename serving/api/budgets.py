"""/v1/budgets: what a user means to spend at most in a period."""

from __future__ import annotations

import hashlib
import time
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from serving.access.principal import Principal
from serving.accounts.budgets import AlertRules, Budget
from serving.accounts.periods import month_ns
from serving.api.dependencies import PlatformDependency, iso
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.platform import Platform

router = APIRouter(tags=["budgets"], dependencies=[needs("estimates:read")])
IfMatch = Annotated[str | None, Header()]


Share = Annotated[Decimal, Field(gt=0, le=10, max_digits=12, decimal_places=6)]
_RULES = AlertRules()


class BudgetRequest(BaseModel):
    """An amount in the currency of the user's plan, when to alert, and whether reaching it is a limit."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"amount": "250.00"}]})

    amount: Annotated[Decimal, Field(gt=0, max_digits=18, decimal_places=6)]
    alert_at_spent: Annotated[list[Share], Field(max_length=20)] = list(_RULES.spent)
    alert_at_projected: Annotated[Decimal, Field(gt=0, le=1, max_digits=12, decimal_places=6)] | None = _RULES.projected
    margin: Annotated[Decimal, Field(ge=0, lt=1, max_digits=12, decimal_places=6)] = _RULES.margin
    limit: bool = False


@router.get("/v1/budgets")
def get_budgets(platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """All budgets; a tenant's own."""
    mine = [one for one in platform.budgets.every() if principal.vendor or one.user == principal.tenant]
    return {"budgets": [document(one) for one in mine]}


@router.get("/v1/budgets/{user}")
def get_budget(user: str, platform: PlatformDependency, principal: Caller) -> JSONResponse:
    """One budget; its ETag is what If-Match takes."""
    budget = _existing(user, platform, principal)
    return JSONResponse(document(budget), headers={"ETag": tag(budget)})


@router.put("/v1/budgets/{user}")
def put_budget(
    user: str, body: BudgetRequest, platform: PlatformDependency, principal: Caller, if_match: IfMatch = None
) -> JSONResponse:
    """Set a budget; with If-Match only when nobody changed it meanwhile."""
    visible_user(principal, platform, user)
    _unchanged(platform.budgets.find(user), if_match)
    currency = platform.commerce.biller.currency_of(platform.commerce.biller.plan_of(user))
    rules = AlertRules(tuple(body.alert_at_spent), body.alert_at_projected, body.margin, body.limit)
    budget = platform.budgets.put(user, body.amount, currency, rules)
    platform.audit.record(principal.key_id, "budget.set", user, amount=str(body.amount), currency=currency)
    return JSONResponse(document(budget), headers={"ETag": tag(budget)})


@router.delete("/v1/budgets/{user}", status_code=204)
def delete_budget(user: str, platform: PlatformDependency, principal: Caller, if_match: IfMatch = None) -> None:
    """Take a budget away."""
    _unchanged(_existing(user, platform, principal), if_match)
    platform.budgets.remove(user)
    platform.audit.record(principal.key_id, "budget.remove", user)


@router.get("/v1/budgets/{user}/status")
def get_status(user: str, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """What the ledger says was spent of a budget, its alerts, and whether its limit lets the user go on."""
    budget, now_ns = _existing(user, platform, principal), time.time_ns()
    spent = platform.commerce.watch.spent(budget, now_ns)
    start_ns, end_ns = month_ns(now_ns)
    return document(budget) | {
        "period": {"start": iso(start_ns), "end": iso(end_ns)},
        "spent": str(spent),
        "remaining": str(max(Decimal(0), budget.amount - spent)),
        "alerts": platform.budgets.raised(user, start_ns),
        "allowed": not budget.rules.limit or spent < budget.amount,
    }


def document(budget: Budget) -> dict[str, Any]:
    """A budget as JSON."""
    rules = budget.rules
    return {
        "user": budget.user,
        "amount": str(budget.amount),
        "currency": budget.currency,
        "alert_at_spent": [str(share) for share in rules.spent],
        "alert_at_projected": None if rules.projected is None else str(rules.projected),
        "margin": str(rules.margin),
        "limit": rules.limit,
    }


def tag(budget: Budget) -> str:
    """The ETag of one state of a budget."""
    said = f"{budget.user}|{budget.amount}|{budget.changed_s}"
    return f'"{hashlib.sha256(said.encode()).hexdigest()[:24]}"'


def _existing(user: str, platform: Platform, principal: Principal) -> Budget:
    visible_user(principal, platform, user)
    budget = platform.budgets.find(user)
    if budget is None:
        raise ProblemError(404, f"{user!r:.80} has no budget; PUT /v1/budgets/{{user}} sets one")
    return budget


def _unchanged(budget: Budget | None, if_match: str | None) -> None:
    if if_match is None or (if_match == "*" and budget is not None):
        return
    if budget is None or if_match != tag(budget):
        raise ProblemError(412, "the budget was changed meanwhile; get it again and decide anew")
