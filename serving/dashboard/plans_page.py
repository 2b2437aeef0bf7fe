"""The page Plans: the same usage under two or three plans, now and at period end, and what if there were more of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from serving.api.spend import plan_of
from serving.dashboard.rendering import ViewDependency, render
from serving.dashboard.what_if import WhatIf, break_even, scaled_bills
from serving.forecasting import TooLittleHistoryError

router = APIRouter(include_in_schema=False)
MOST_COMPARED = 3


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
    try:
        what_if = WhatIf(view)
        values |= scaled_bills(what_if, plans, factor)
        values["break_even"] = break_even(what_if, plans)
    except (TooLittleHistoryError, ValueError) as error:
        values["refusal"] = str(error)
    return render(view, "plans.html", values)
