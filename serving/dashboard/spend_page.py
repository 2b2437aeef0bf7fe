"""The page Spend: one sentence, the fan chart, what it rests on, and the dearest operations."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from serving.accounts import spend
from serving.accounts.billing import longest_window
from serving.api.dependencies import iso, time_ns
from serving.dashboard.fan_chart import Fan, OtherPlan, fan_chart
from serving.dashboard.period_names import period_before, period_name
from serving.dashboard.price_changes import price_changes
from serving.dashboard.rendering import View, ViewDependency, bill_so_far, render
from serving.estimating.estimate_service import Question
from serving.estimating.forecasting import TooLittleHistoryError
from serving.estimating.futures import versioned_plan
from serving.pricing.usage import Period
from serving.pricing.versioned_plan import VersionedPlan

router = APIRouter(include_in_schema=False)
POINTS = 40
PATHS = 400
TOLERANCE_S = 10.0
MOST_OTHERS = 2


@router.get("/")
def spend_page(view: ViewDependency) -> Response:
    """Spend to date and the bill to come of one user under one plan."""
    if view.user is None:
        return render(view, "empty.html", {"users": view.users})
    plan = versioned_plan(view.platform, view.plan.id, view.user, view.period)
    past = _past(view, plan)
    budget = view.platform.budgets.find(view.user)
    values: dict[str, Any] = {
        "spend_so_far": str(bill_so_far(view).total),
        "currency": view.plan.currency,
        "past": [
            {"until": iso(at), "amount": str(amount)}
            for at, amount in zip(past.moments_ns, past.costs.totals, strict=True)
        ],
        "budget": str(budget.amount) if budget else None,
        "before": _before(view),
        "price_changes": price_changes(plan),
        "estimate": None,
        "fan": [],
        "other_plans": [],
        "invoices": [
            {"number": one.number, "amount_due": one.document["amount_due"], "currency": one.currency}
            for one in view.platform.commerce.invoices.every(view.user)[-6:]
        ],
        "refusal": None,
    }
    question = question_of(view, (view.plan.id,))
    try:
        values["estimate"], fan = view.platform.estimates.recent(question, TOLERANCE_S)
        values["fan"] = [{"at": iso(at), "quantiles": levels} for at, levels in fan]
        values["other_plans"] = _other_plans(view)
    except (TooLittleHistoryError, ValueError) as error:
        values["refusal"] = str(error)
    return render(view, "spend.html", values, {"chart": fan_chart(_fan(view, values))})


def _before(view: View) -> dict[str, str] | None:
    """What the period before cost, where there was any usage in it."""
    period = period_before(view.period)
    if period.start_ns <= 0 or view.platform.history.totals(*_span(view, period), view.user).is_empty():
        return None
    return {"name": period_name(period), "amount": str(bill_so_far(view, period).total)}


def _span(view: View, period: Period) -> tuple[int, int, int]:
    window_s = longest_window(view.platform.settings.windows_s, (period.start_ns, period.end_ns))
    return window_s, period.start_ns, period.end_ns


def question_of(view: View, plans: tuple[str, ...]) -> Question:
    """What a page asks about its user, with the user's budget."""
    budget = view.platform.budgets.find(str(view.user))
    return Question(
        str(view.user),
        plans,
        view.period.start_ns,
        view.period.end_ns,
        PATHS,
        budget=budget.amount if budget is not None else None,
    )


def _other_plans(view: View) -> list[dict[str, str]]:
    """What other plans of the same currency would cost; those that cannot be priced ahead are left out."""
    plans = [plan for plan in view.platform.plans.values() if plan.id != view.plan.id]
    rows: list[dict[str, str]] = []
    for plan in plans:
        if plan.currency != view.plan.currency or len(rows) == MOST_OTHERS:
            continue
        try:
            document, _ = view.platform.estimates.recent(question_of(view, (plan.id,)), TOLERANCE_S)
        except ValueError:
            continue
        one = document["estimates"][0]
        rows.append({"plan": plan.id, "spend_so_far": one["spend_so_far"], "median": one["quantiles"]["0.5"]})
    return rows


def _past(view: View, plan: VersionedPlan) -> spend.Growth:
    platform, user = view.platform, str(view.user)
    now_ns = platform.worker.closed_until_ns(platform.settings.windows_s[0]) or time.time_ns()
    return spend.growth(platform.commerce.biller, platform.history, plan, user, now_ns, POINTS)


def _fan(view: View, values: dict[str, Any]) -> Fan:
    start_ns, end_ns = view.period.start_ns, view.period.end_ns
    points = [(_share(row["until"], start_ns, end_ns), float(row["amount"])) for row in values["past"]]
    ahead = []
    if values["estimate"] is not None:
        marks = [(_share(row["at"], start_ns, end_ns), row["quantiles"]) for row in values["fan"]]
        marks.append((1.0, values["estimate"]["estimates"][0]["quantiles"]))
        ahead = [(share, {level: float(amount) for level, amount in levels.items()}) for share, levels in marks]
    budget = float(values["budget"]) if values["budget"] else None
    others = tuple(
        OtherPlan(row["plan"], float(row["spend_so_far"]), float(row["median"])) for row in values["other_plans"]
    )
    return Fan(points, ahead, view.plan.currency, start_ns, end_ns, budget, others)


def _share(moment_iso: str, start_ns: int, end_ns: int) -> float:
    return (time_ns("until", moment_iso, 0) - start_ns) / (end_ns - start_ns)
