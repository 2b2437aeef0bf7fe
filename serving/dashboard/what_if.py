"""What if: the same sample futures with more or less usage to come, under several plans, and where they break even."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.dashboard.price_changes import price_changes
from serving.dashboard.rendering import View
from serving.estimating.estimate_service import Question
from serving.estimating.estimates import compare, in_force
from serving.estimating.futures import Futures
from serving.pricing.paths import Means, PathCosts
from serving.pricing.plan import Plan
from serving.pricing.versioned_plan import VersionedPlan

PATHS = 300
LARGEST_FACTOR = 20.0
STEPS = 40
HALVINGS = 12


class WhatIf:
    """Sample futures of one user's period, sampled once and priced as often as asked."""

    def __init__(self, view: View) -> None:
        """Raises TooLittleHistoryError where there is too little usage to look ahead."""
        question = Question(str(view.user), (view.plan.id,), view.period.start_ns, view.period.end_ns, PATHS)
        self._futures: Futures = view.platform.estimates.futures(question)

    def costs(self, plan: VersionedPlan, factor: float) -> PathCosts:
        """Bills of all paths with the usage to come times ``factor``."""
        usage = [np.rint(used[:PATHS]) for used in self._scaled(plan, factor)]
        return plan.rate_paths(self._futures.columns, usage, self._means(plan, PATHS))

    def middle_cost(self, plan: VersionedPlan, factor: float) -> Decimal:
        """The bill of the mean path with the usage to come times ``factor``."""
        usage = [np.rint(used.mean(axis=0)[None, :]) for used in self._scaled(plan, factor)]
        return plan.rate_paths(self._futures.columns, usage, self._means(plan, None)).totals[0]

    def in_force(self, plan: VersionedPlan) -> Plan:
        """The version that prices what is used now."""
        return in_force(plan, self._futures)

    def _scaled(self, plan: VersionedPlan, factor: float) -> list[NDArray[np.float64]]:
        """Usage in each slice, of which what is to come is times ``factor``."""
        ends, so_far = self._futures.end.by_version(plan), self._futures.now.by_version(plan)
        return [np.maximum(now + factor * (end - now), 0.0) for end, now in zip(ends, so_far, strict=True)]

    def _means(self, plan: VersionedPlan, count: int | None) -> list[Means | None]:
        factors = self._futures.end.factors
        return [
            {name: _first(mean, count) for name, mean in factors.get((plan.id, version.version), {}).items()}
            for version in plan.plans
        ]


def _first(mean: Decimal | NDArray[np.float64], count: int | None) -> Decimal | NDArray[np.float64]:
    """Mean factors of the first paths, or with None those of the mean path."""
    if isinstance(mean, Decimal):
        return mean
    return mean[:count] if count is not None else mean.mean(axis=0)[None, :]


def scaled_bills(what_if: WhatIf, plans: Sequence[VersionedPlan], factor: float) -> dict[str, Any]:
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
                "description": what_if.in_force(plan).description,
                "changes": price_changes(plan),
                "currency": plan.currency,
                "expected": str(expected.quantize(Decimal("0.01"))),
                "quantiles": quantiles,
            }
        )
    comparison = compare(plans, costs) if len(plans) > 1 else None
    return {"bills": bills, "comparison": comparison}


def break_even(what_if: WhatIf, plans: Sequence[VersionedPlan]) -> dict[str, Any] | None:
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
