"""Mean factors on sample paths: past usage at the prices that held, usage to come at schedules and demand paths."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from serving.accounts.billing import HistoryReader, read_usage
from serving.estimating.demand_paths import demand_paths
from serving.estimating.futures import Request, Sources, Span
from serving.pricing.factors.demand import Demand
from serving.pricing.line import Part
from serving.pricing.metering import metered
from serving.pricing.paths import Means, UsageColumn
from serving.pricing.plan import Charge, Plan
from serving.pricing.usage import Period

Array = NDArray[np.float64]
LOOKS = 4
"""At how many instants of a window schedules are looked up."""


class PathFactors:
    """The factors of every plan that has some, for one user and period."""

    def __init__(
        self,
        sources: Sources,
        request: Request,
        plans: Iterable[Plan],
        columns: Sequence[UsageColumn],
        so_far: Array,
        span: Span,
    ) -> None:
        """``so_far`` is what was used of each column before the first window of ``span``."""
        self._columns, self._so_far = columns, so_far
        self._past: dict[tuple[str, str], Array] = {}
        self._future: dict[tuple[str, str], Array] = {}
        for plan in plans:
            charges = [charge for charge in plan.charges if charge.factors]
            if charges:
                self._prepare(sources, request, plan, charges, span)

    def weighted(self, ahead: Array, rows: Sequence[int]) -> dict[tuple[str, str], Array]:
        """By plan and charge, usage (paths, columns) times its factors: so far, and ahead (paths, series, windows)."""
        count, windows = len(ahead), ahead.shape[2]
        made = {}
        for key, past in self._past.items():
            weighted = np.repeat((self._so_far * past)[None, :], count, axis=0)
            factors = self._of_paths(key, count, windows)
            weighted[:, rows] += np.einsum("pst,pt->ps", ahead, factors)
            made[key] = weighted
        return made

    def means(self, weighted: Mapping[tuple[str, str], Array], usage: Array, more: Array) -> dict[str, Means]:
        """Mean factors by plan and charge of ``usage`` (paths, columns) and ``more``, that of the first windows.

        ``more`` (paths or 1, columns, windows) is added to usage, and times its factors to what is weighted.
        """
        made: dict[str, dict[str, Decimal | Array]] = {}
        whole = usage + more.sum(axis=2)
        for key, one in weighted.items():
            factors = self._of_paths(key, len(usage), more.shape[2])
            added = one + np.einsum("pct,pt->pc", np.broadcast_to(more, (*usage.shape, more.shape[2])), factors)
            mean = np.divide(added, whole, out=np.ones_like(whole), where=whole > 0)
            made.setdefault(key[0], {})[key[1]] = mean
        return dict(made)

    def _of_paths(self, key: tuple[str, str], count: int, windows: int) -> Array:
        """Factors of the first windows, (count, windows); there may be fewer paths of demand, taken in turn."""
        factors = self._future[key]
        return factors[np.arange(count) % len(factors)][:, :windows]

    def _prepare(self, sources: Sources, request: Request, plan: Plan, charges: Sequence[Charge], span: Span) -> None:
        rules = {f.id: f for charge in charges for f in charge.factors if isinstance(f, Demand)}
        paths = {
            name: demand_paths(sources.commerce, plan.id, rule, span.until_ns, (span.window_ns, span.horizon))
            for name, rule in rules.items()
        }
        maximum = sources.commerce.terms.of(request.user).maximum_factor
        past = _past_factors(sources, request, plan, charges, span.until_ns)
        for charge in charges:
            means = [past.get(charge.id, {}).get((c.operation_id, c.micro_operation_type), 1.0) for c in self._columns]
            self._past[plan.id, charge.id] = np.array(means)
            self._future[plan.id, charge.id] = window_factors(plan, charge, span, paths, maximum)


def window_factors(
    plan: Plan, charge: Charge, span: Span, demand: Mapping[str, Array], maximum: Decimal | None
) -> Array:
    """The combined factor of a charge in every window to come, (demand paths, windows)."""
    count = max((len(paths) for paths in demand.values()), default=1)
    product = np.ones((count, span.horizon))
    for factor in charge.factors:
        if isinstance(factor, Demand):
            product *= demand[factor.id]
            continue
        looks = [
            [float(factor.at(span.at_ns(window) + span.window_ns * look // LOOKS)) for look in range(LOOKS)]
            for window in range(span.horizon)
        ]
        product *= np.array(looks).reshape(span.horizon, LOOKS).mean(axis=1)
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
