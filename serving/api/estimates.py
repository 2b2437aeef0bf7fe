"""POST /v1/estimates: the predictive bill under one plan or several."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from serving.accounts.periods import month_ns
from serving.api.billed import period_of, plan_of
from serving.api.dependencies import PlatformDependency, iso, time_ns
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.estimating.estimate_history import errors
from serving.estimating.estimate_service import Question
from serving.estimating.forecasting import TooLittleHistoryError
from serving.estimating.futures import UnknownPlanError
from serving.estimating.plan_comparison import customers, revenue

router = APIRouter(tags=["estimates"], dependencies=[needs("estimates:read")])
NANOSECONDS = 1_000_000_000
_COMPARED: dict[str, JsonValue] = {"before": "micro-operations", "after": "per-request", "guard_percent": "20"}


class EstimateRequest(BaseModel):
    """Whose bill under which plans; the period is the calendar month in UTC unless given."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"user": "acme", "plans": ["per-request"]}]}
    )

    user: str
    plans: Annotated[list[str], Field(max_length=8)] = []
    period_start: str | None = None
    period_end: str | None = None
    paths: Annotated[int, Field(ge=10, le=20_000)] = 1_000
    budget: Annotated[Decimal, Field(ge=0, max_digits=18, decimal_places=6)] | None = None


@router.post("/v1/estimates")
def post_estimates(body: EstimateRequest, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Spend so far and the bill at period end, as a distribution, with the split by operation and micro-operation.

    Two plans or more are compared on the same sample paths. Where a plan changes within the period, `versions` says
    which version prices what is used when.
    """
    visible_user(principal, platform, body.user)
    start_ns, end_ns = month_ns(time.time_ns())
    question = Question(
        body.user,
        tuple(body.plans) or (platform.commerce.biller.plan_of(body.user),),
        time_ns("period_start", body.period_start, start_ns),
        time_ns("period_end", body.period_end, end_ns),
        body.paths,
        body.budget,
    )
    with estimate_problems():
        return platform.estimates.ask(question)


@router.get("/v1/estimates/projected")
def get_projected(
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    plan: str | None = None,
    horizon: Literal["hour", "day", "period"] = "period",
    period_start: str | None = None,
    period_end: str | None = None,
) -> dict[str, Any]:
    """`ProjectedBillingEstimate` records by operation and micro-operation; empty names stand for all of them."""
    whom = visible_user(principal, platform, user)
    if whom is None:
        raise ProblemError(422, "user is missing; GET /v1/users lists those there are")
    start_ns, end_ns = month_ns(time.time_ns())
    question = Question(
        whom,
        (plan or platform.commerce.biller.plan_of(whom),),
        time_ns("period_start", period_start, start_ns),
        time_ns("period_end", period_end, end_ns),
    )
    with estimate_problems():
        return {"estimates": platform.estimates.records(question, horizon)}


class CompareRequest(BaseModel):
    """Two plans on the usage of a past period: of one user or, for the vendor, of all on no matter which plan."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [dict(_COMPARED)]})

    before: str
    after: str
    user: str | None = None
    start: str | None = None
    end: str | None = None
    guard_percent: Annotated[Decimal, Field(ge=0, le=100_000, max_digits=12, decimal_places=4)] | None = None


@router.post("/v1/estimates/compare")
def post_comparison(body: CompareRequest, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Which plan would have been cheaper, for whom and by how much; revenue, the spread of changes, and the guard.

    Each part of the period is priced by the version of the plan that held in it, as on invoices.
    """
    user = visible_user(principal, platform, body.user)
    before, after = plan_of(platform, body.before), plan_of(platform, body.after)
    period = period_of(body.start, body.end)
    users = [user] if user is not None else platform.history.users()
    comparison = platform.commerce.comparison
    with estimate_problems():
        changes = comparison.changes(before.id, after.id, users, period)
        even = comparison.break_even(before.id, after.id, user, period) if user is not None else None
    return {
        "before": {"id": before.id, "version": before.version},
        "after": {"id": after.id, "version": after.version},
        "period": {"start": iso(period.start_ns), "end": iso(period.end_ns)},
        **revenue(changes, before.currency, body.guard_percent),
        "break_even": even,
        "customers": customers(changes),
    }


class BacktestRequest(BaseModel):
    """Periods of a length that end where the usage ends; each is estimated again at shares of it."""

    model_config = ConfigDict(extra="forbid")

    user: str
    plan: str | None = None
    period_s: Annotated[int, Field(ge=60, le=366 * 86_400)] = 86_400
    periods: Annotated[int, Field(ge=0, le=50)] = 3
    shares: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(max_length=10)] = [0.1, 0.25, 0.5, 0.75]


@router.post("/v1/estimates/backtest")
def post_backtest(body: BacktestRequest, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Past estimates beside the bills that came: error, bias and coverage by elapsed share of the period.

    Estimates that were made at the time count, and those of the last ``periods`` are made again as they would have
    been, from the usage up to their moment.
    """
    visible_user(principal, platform, body.user)
    plan = plan_of(platform, body.plan or platform.commerce.biller.plan_of(body.user))
    window_s = platform.settings.windows_s[0]
    until_ns = platform.worker.closed_until_ns(window_s) // (body.period_s * NANOSECONDS) * body.period_s * NANOSECONDS
    made = 0
    for back in range(body.periods, 0, -1):
        start_ns = until_ns - back * body.period_s * NANOSECONDS
        question = Question(body.user, (plan.id,), start_ns, start_ns + body.period_s * NANOSECONDS, paths=400)
        with estimate_problems():
            made += platform.estimates.replay(question, body.shares)
    platform.commerce.settle_estimates(until_ns)
    scored = platform.commerce.estimates_made.scored(body.user, plan.id)
    return {
        "user": body.user,
        "plan": {"id": plan.id, "version": plan.version},
        "replayed": made,
        "errors": errors(scored),
        "estimates": [
            {
                "elapsed_percent": round(100 * one.share, 1),
                "p10": str(one.low),
                "p50": str(one.median),
                "p90": str(one.high),
                "bill": str(one.bill),
            }
            for one in scored
        ],
    }


@contextmanager
def estimate_problems() -> Iterator[None]:
    """Errors of estimates and forecasts as problems: 404, 409 with the windows that are missing, 422."""
    try:
        yield
    except UnknownPlanError as error:
        raise ProblemError(404, str(error)) from error
    except TooLittleHistoryError as error:
        raise ProblemError(409, str(error), missing_windows=error.missing_windows) from error
    except ValueError as error:
        raise ProblemError(422, str(error)) from error
