"""The page Plans: the same usage under two or three plans, now and at period end, and what if there were more of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from serving.api import prices
from serving.api.billed import plan_of
from serving.dashboard.rendering import View, ViewDependency, render
from serving.dashboard.what_if import WhatIf, break_even, scaled_bills
from serving.estimating.forecasting import TooLittleHistoryError
from serving.estimating.futures import versioned_plan
from serving.estimating.plan_comparison import revenue
from serving.pricing.plan import Plan

router = APIRouter(include_in_schema=False)
MOST_COMPARED = 3
PRICES_SHOWN = 12
MOST_CUSTOMERS = 200
"""More customers than this are compared over the API only, which may take its time."""


@router.get("/plans")
def plans_page(
    view: ViewDependency,
    compare: Annotated[list[str] | None, Query(max_length=MOST_COMPARED)] = None,
    factor: Annotated[float, Query(ge=0, le=100)] = 1.0,
) -> Response:
    """Plans side by side for one user, with usage to come times ``factor``."""
    if view.user is None:
        return render(view, "empty.html", {"users": view.users})
    chosen = compare or sorted(view.platform.plans)[:MOST_COMPARED]
    plans = [plan_of(view.platform, plan_id) for plan_id in dict.fromkeys(chosen)]
    values: dict[str, Any] = {"compared": [plan.id for plan in plans], "factor": factor, "bills": [], "refusal": None}
    values |= {"comparison": None, "break_even": None}
    values["prices"] = prices.get_prices(view.platform, plans[0].id, PRICES_SHOWN)
    values["customers"] = _all_customers(view, plans)
    try:
        what_if = WhatIf(view)
        versioned = [versioned_plan(view.platform, plan.id, view.user, view.period) for plan in plans]
        values |= scaled_bills(what_if, versioned, factor)
        values["break_even"] = break_even(what_if, versioned)
    except (TooLittleHistoryError, ValueError) as error:
        values["refusal"] = str(error)
    return render(view, "plans.html", values)


def _all_customers(view: View, plans: list[Plan]) -> dict[str, Any] | None:
    """For the vendor: what all customers together would have paid under the first two plans so far."""
    users = view.users
    same = len(plans) > 1 and plans[0].currency == plans[1].currency
    if not view.principal.vendor or not same or not 1 < len(users) <= MOST_CUSTOMERS:
        return None
    before, after = plans[:2]
    changes = view.platform.commerce.comparison.changes(before.id, after.id, users, view.period)
    return revenue(changes, before.currency)
