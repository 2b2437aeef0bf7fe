"""Mean factors on sample paths: past usage at the prices that held, usage to come at schedules and demand paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving.accounts.billing import HistoryReader, read_usage
from serving.estimating.demand_paths import demand_paths
from serving.pricing.factors.demand import Demand
from serving.pricing.line import Part
from serving.pricing.metering import metered
from serving.pricing.paths import Means, UsageColumn
from serving.pricing.plan import Charge, Plan
from serving.pricing.usage import Period

if TYPE_CHECKING:
    from serving.estimating.futures import Request, Sources

Array = NDArray[np.float64]
LOOKS = 4
"""At how many instants of a window schedules are looked up."""


class PathFactors:
    """The factors of every plan that has some, for one user and period."""

    def __init__(
        self,
        sources: Sources,
        request: Request,
        columns: Sequence[UsageColumn],
        so_far: Array,
        ahead: tuple[int, int, int],
    ) -> None:
        """``ahead`` is the first window to come, a window's length (nanoseconds) and how many there are."""
        self._columns, self._so_far = columns, so_far
        self._past: dict[tuple[str, str], Array] = {}
        self._future: dict[tuple[str, str], Array] = {}
        plans = [plan.of_customer(request.user) for plan in sources.plans.values()]
        for plan in plans:
            charges = [charge for charge in plan.charges if charge.factors]
            if charges:
                self._prepare(sources, request, plan, charges, ahead)

    def means(self, ahead: Array, rows: Sequence[int], step: int) -> dict[str, Means]:
        """By plan and charge the mean factor (paths, columns) of usage up to a step of paths (paths, series, steps)."""
        made: dict[str, dict[str, Decimal | Array]] = {}
        count = max(1, len(ahead)) if step else 1
        for (plan_id, charge_id), past in self._past.items():
            usage = np.repeat(self._so_far[None, :], count, axis=0)
            weighted = usage * past
            if step:
                factors = self._future[plan_id, charge_id]
                factors = factors[np.arange(count) % len(factors)][:, :step]
                weighted[:, rows] += np.einsum("pst,pt->ps", ahead[:, :, :step], factors)
                usage[:, rows] += ahead[:, :, :step].sum(axis=2)
            mean = np.divide(weighted, usage, out=np.ones_like(usage), where=usage > 0)
            made.setdefault(plan_id, {})[charge_id] = mean
        return dict(made)

    def _prepare(
        self, sources: Sources, request: Request, plan: Plan, charges: Sequence[Charge], ahead: tuple[int, int, int]
    ) -> None:
        until_ns, window_ns, horizon = ahead
        rules = {f.id: f for charge in charges for f in charge.factors if isinstance(f, Demand)}
        paths = {
            name: demand_paths(sources.commerce, plan.id, rule, until_ns, (window_ns, horizon))
            for name, rule in rules.items()
        }
        maximum = sources.commerce.terms.of(request.user).maximum_factor
        past = _past_factors(sources, request, plan, charges, until_ns)
        for charge in charges:
            means = [past.get(charge.id, {}).get((c.operation_id, c.micro_operation_type), 1.0) for c in self._columns]
            self._past[plan.id, charge.id] = np.array(means)
            self._future[plan.id, charge.id] = window_factors(plan, charge, ahead, paths, maximum)


def window_factors(
    plan: Plan, charge: Charge, ahead: tuple[int, int, int], demand: Mapping[str, Array], maximum: Decimal | None
) -> Array:
    """The combined factor of a charge in every window to come, (demand paths, windows)."""
    start_ns, window_ns, horizon = ahead
    count = max((len(paths) for paths in demand.values()), default=1)
    product = np.ones((count, horizon))
    for factor in charge.factors:
        if isinstance(factor, Demand):
            product *= demand[factor.id]
            continue
        looks = [
            [float(factor.at(start_ns + window * window_ns + window_ns * look // LOOKS)) for look in range(LOOKS)]
            for window in range(horizon)
        ]
        product *= np.array(looks).reshape(horizon, LOOKS).mean(axis=1)
    bounds = plan.factor_bounds
    caps = [float(cap) for cap in (bounds.cap, maximum) if cap is not None]
    return np.clip(product, float(bounds.floor), min(caps, default=np.inf))


def _past_factors(
    sources: Sources, request: Request, plan: Plan, charges: Sequence[Charge], until_ns: int
) -> dict[str, dict[Part, float]]:
    """The mean factor of what was used so far, by charge and part, at the prices that held."""
    if until_ns <= request.start_ns:
        return {}
    period = Period(request.start_ns, until_ns)
    held = replace(plan, effective_from_ns=min(plan.effective_from_ns, period.start_ns))
    conditions = sources.commerce.biller.conditions([held], request.user, period)
    windows_s = sources.commerce.windows_s
    usage = read_usage([held], period, HistoryReader(sources.history, request.user), windows_s, conditions)
    found: dict[str, dict[Part, float]] = {}
    for charge in charges:
        count = metered(charge, usage, held, period, conditions)
        for part, weight in count.weights.items():
            added = sum((parts.get(part, Decimal(0)) for parts in count.surcharges.values()), Decimal(0))
            found.setdefault(charge.id, {})[part] = float(1 + added / weight)
    return found
