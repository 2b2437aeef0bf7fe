"""Mean factors on sample paths: past usage at the prices that held, usage to come at schedules and demand paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from serving.pricing.versioned_plan import VersionedPlan, VersionSlice

Array = NDArray[np.float64]
Key = tuple[str, int, str]
"""Plan, version, and charge."""
LOOKS = 4
"""At how many instants of a window schedules are looked up."""


class PathFactors:
    """The factors of every version of a plan that has some, for one user and period."""

    def __init__(
        self,
        sources: Sources,
        request: Request,
        plans: Iterable[VersionedPlan],
        columns: Sequence[UsageColumn],
        so_far: Mapping[int, Array],
        span: Span,
    ) -> None:
        """``so_far`` is what was used of each column up to an instant and the first window of ``span``.

        There is one for the end of the period, and one for every instant at which prices change.
        """
        self._sources, self._request, self._columns, self._span = sources, request, columns, span
        self._past: dict[Key, Array] = {}
        self._future: dict[Key, Array] = {}
        self._parts: dict[tuple[str, int], Period] = {}
        self._shares: dict[tuple[str, int], Array] = {}
        for plan in plans:
            for one in plan.slices:
                if any(charge.factors for charge in one.plan.charges):
                    self._prepare(plan, one, so_far)

    def weighted(self, ahead: Array, rows: Sequence[int]) -> dict[Key, Array]:
        """By version and charge, usage in its part (paths, columns) times its factors; ahead (paths, series, windows).

        Usage so far is in it.
        """
        count, windows = len(ahead), ahead.shape[2]
        made = {}
        for key, past in self._past.items():
            weighted = np.repeat(past[None, :], count, axis=0)
            share = self._shares[key[:2]][:windows]
            factors = self._of_paths(self._future[key], count, windows)
            if (share < 1).any():
                factors = factors * share
            weighted[:, rows] += np.einsum("pst,pt->ps", ahead, factors)
            made[key] = weighted
        return made

    def means(
        self, weighted: Mapping[Key, Array], used: Callable[[Period], Array], more: Callable[[Period], Array]
    ) -> dict[tuple[str, int], Means]:
        """Mean factors by version and charge of all that is ``used`` in its part, (paths or 1, columns).

        ``more`` of it, (paths or 1, columns, first windows), is not in what is weighted, and added times its factors.
        """
        made: dict[tuple[str, int], dict[str, Decimal | Array]] = {}
        for key, one in weighted.items():
            part = self._parts[key[:2]]
            near = more(part)
            factors = self._of_paths(self._future[key], len(one), near.shape[2])
            added = one + np.einsum("pct,pt->pc", np.broadcast_to(near, (*one.shape, near.shape[2])), factors)
            whole = np.broadcast_to(used(part), added.shape)
            mean = np.divide(added, whole, out=np.ones_like(added), where=whole > 0)
            made.setdefault(key[:2], {})[key[2]] = mean
        return dict(made)

    @staticmethod
    def _of_paths(factors: Array, count: int, windows: int) -> Array:
        """Factors of the first windows, (count, windows); there may be fewer paths of demand, taken in turn."""
        return factors[np.arange(count) % len(factors)][:, :windows]

    def _prepare(self, plan: VersionedPlan, one: VersionSlice, so_far: Mapping[int, Array]) -> None:
        """What is kept of one version: the factors of what was used under it, and those of windows to come."""
        sources, span, part = self._sources, self._span, one.part
        begun = so_far[part.start_ns] if part.start_ns in plan.cuts_ns else np.zeros(len(self._columns))
        used = so_far[part.end_ns] - begun
        share = _share(plan, one, span)
        self._parts[plan.id, one.plan.version], self._shares[plan.id, one.plan.version] = part, share
        charges = [charge for charge in one.plan.charges if charge.factors]
        rules = {f.id: f for charge in charges for f in charge.factors if isinstance(f, Demand)} if share.any() else {}
        paths = {
            name: demand_paths(sources.commerce, plan.id, rule, span.until_ns, (span.window_ns, span.horizon))
            for name, rule in rules.items()
        }
        maximum = sources.commerce.terms.of(self._request.user).maximum_factor
        past = _past_factors(sources, self._request, one, charges, span.until_ns)
        for charge in charges:
            means = [past.get(charge.id, {}).get((c.operation_id, c.micro_operation_type), 1.0) for c in self._columns]
            key = (plan.id, one.plan.version, charge.id)
            self._past[key] = used * np.array(means)
            ahead = window_factors(one.plan, charge, span, paths, maximum) if share.any() else np.ones((1, len(share)))
            self._future[key] = ahead


def _share(plan: VersionedPlan, one: VersionSlice, span: Span) -> Array:
    """The share of every window to come that lies in the part of a version; the first and the last reach further."""
    before, part = np.zeros(span.horizon), np.ones(span.horizon)
    if one.part.start_ns in plan.cuts_ns:
        before = span.before(one.part.start_ns)
    if one.part.end_ns in plan.cuts_ns:
        part = span.before(one.part.end_ns)
    return part - before


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
    sources: Sources, request: Request, one: VersionSlice, charges: Sequence[Charge], until_ns: int
) -> dict[str, dict[Part, float]]:
    """The mean factor of what was used so far under a version, by charge and part, at the prices that held."""
    if until_ns <= one.part.start_ns:
        return {}
    period, held = Period(one.part.start_ns, min(until_ns, one.part.end_ns)), one.plan
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
