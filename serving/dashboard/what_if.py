"""What if: the same sample futures with more or less usage to come, under several plans, and where they break even."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.dashboard.rendering import View
from serving.estimating.estimate_service import Question
from serving.estimating.estimates import compare
from serving.estimating.futures import Futures
from serving.pricing.paths import PathCosts, rate_paths
from serving.pricing.plan import Plan

PATHS = 300
LARGEST_FACTOR = 20.0
STEPS = 40
HALVINGS = 12


class WhatIf:
    """Sample futures of one user's period, sampled once and priced as often as asked."""

    def __init__(self, view: View) -> None:
        """Raises TooLittleHistoryError where there is too little usage to look ahead."""
        question = Question(str(view.user), (view.plan.id,), view.period.start_ns, view.period.end_ns, PATHS)
        self._user = str(view.user)
        self._futures: Futures = view.platform.estimates.futures(question)

    def costs(self, plan: Plan, factor: float) -> PathCosts:
        """Bills of all paths with the usage to come times ``factor``."""
        end = self._futures.end
        means = {name: _first(mean, PATHS) for name, mean in end.factors.get(plan.id, {}).items()}
        usage = np.rint(self._scaled(end.usage[:PATHS], factor))
        return rate_paths(plan.of_customer(self._user), self._futures.columns, usage, means)

    def middle_cost(self, plan: Plan, factor: float) -> Decimal:
        """The bill of the mean path with the usage to come times ``factor``."""
        end = self._futures.end
        means = {name: _first(mean, None) for name, mean in end.factors.get(plan.id, {}).items()}
        usage = np.rint(self._scaled(end.usage.mean(axis=0)[None, :], factor))
        return rate_paths(plan.of_customer(self._user), self._futures.columns, usage, means).totals[0]

    def _scaled(self, ends: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
        so_far = self._futures.now.usage
        scaled: NDArray[np.float64] = np.maximum(so_far + factor * (ends - so_far), 0.0)
        return scaled


def _first(mean: Decimal | NDArray[np.float64], count: int | None) -> Decimal | NDArray[np.float64]:
    """Mean factors of the first paths, or with None those of the mean path."""
    if isinstance(mean, Decimal):
        return mean
    return mean[:count] if count is not None else mean.mean(axis=0)[None, :]


def scaled_bills(what_if: WhatIf, plans: Sequence[Plan], factor: float) -> dict[str, Any]:
    """Expected bill and quantiles under each plan, and which is cheaper how often."""
    costs = [what_if.costs(plan, factor) for plan in plans]
    bills = []
    for plan, cost in zip(plans, costs, strict=True):
        ordered = sorted(cost.totals)
        quantiles = {f"{level:g}": str(ordered[round(level * (len(ordered) - 1))]) for level in (0.1, 0.5, 0.9)}
        expected = sum(ordered, Decimal(0)) / len(ordered)
        bills.append(
            {
                "plan": plan.id,
                "description": plan.description,
                "currency": plan.currency,
                "expected": str(expected.quantize(Decimal("0.01"))),
                "quantiles": quantiles,
            }
        )
    comparison = compare(plans, costs) if len(plans) > 1 else None
    return {"bills": bills, "comparison": comparison}


def break_even(what_if: WhatIf, plans: Sequence[Plan]) -> dict[str, Any] | None:
    """The smallest factor on the usage to come at which the first two plans swap places, or None up to 20 times."""
    if len(plans) < 2 or plans[0].currency != plans[1].currency:
        return None
    one, other = plans[0], plans[1]

    def lead(factor: float) -> Decimal:
        return what_if.middle_cost(one, factor) - what_if.middle_cost(other, factor)

    low, begin = 0.0, lead(0.0)
    for step in range(1, STEPS + 1):
        high = LARGEST_FACTOR * step / STEPS
        if (lead(high) > 0) != (begin > 0):
            break
        low = high
    else:
        return None
    for _ in range(HALVINGS):
        centre = (low + high) / 2
        low, high = (low, centre) if (lead(centre) > 0) != (begin > 0) else (centre, high)
    below, above = (other.id, one.id) if begin > 0 else (one.id, other.id)
    return {"factor": round(high, 2), "cheaper_below": below, "cheaper_above": above}
