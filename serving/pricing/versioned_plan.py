"""A plan over one period, version by version: sample paths priced as an invoice that splits the period would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

import numpy as np
from numpy.typing import NDArray

from serving.pricing.line import NO_USAGE, Part
from serving.pricing.paths import Means, PathCosts, UsageColumn, rate_paths
from serving.pricing.plan import Plan
from serving.pricing.proration import WHOLE, Share, share_of
from serving.pricing.rate import rate
from serving.pricing.usage import Period
from serving.pricing.versions import held_from, rate_versions, slices

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class VersionSlice:
    """A part of the period and the version that prices it.

    ``moved`` is what fees in advance add to the part as it is rated for itself: they are owed to the end of the period
    when a version takes effect, and given back when the next one does, whatever is used.
    """

    plan: Plan
    part: Period
    share: Share = WHOLE
    moved: Decimal = NOTHING


@dataclass(frozen=True, slots=True)
class VersionedPlan:
    """The versions of a plan in a period, as they are for one customer, in the order of time; mostly one."""

    period: Period
    slices: tuple[VersionSlice, ...]

    @classmethod
    def over(cls, versions: Sequence[Plan], period: Period) -> Self:
        """The first version holds from the period's start; raises ValueError for what `slices` refuses."""
        held = held_from(versions, period.start_ns)
        cuts = slices(held, period)
        if len(cuts) == 1:
            return cls(period, (VersionSlice(cuts[0][0], period),))
        made = []
        for (plan, part), unused in zip(cuts, rate_versions(held, [], period).slices, strict=True):
            share = share_of(part, period)
            moved = unused.total - rate(plan, [], part, share=share).total
            made.append(VersionSlice(plan, part, share, moved))
        return cls(period, tuple(made))

    @property
    def id(self) -> str:
        """The id of all versions."""
        return self.slices[0].plan.id

    @property
    def currency(self) -> str:
        """The one currency of all versions."""
        return self.slices[0].plan.currency

    @property
    def cuts_ns(self) -> tuple[int, ...]:
        """When prices change within the period, in Unix nanoseconds."""
        return tuple(one.part.start_ns for one in self.slices[1:])

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The versions, in the order of time."""
        return tuple(one.plan for one in self.slices)

    def place(self, at_ns: int) -> int:
        """Which slice holds at an instant; before and after the period its first and its last."""
        return sum(cut <= at_ns for cut in self.cuts_ns)

    def rate_paths(
        self,
        columns: Sequence[UsageColumn],
        usage: Sequence[NDArray[np.float64]],
        factors: Sequence[Means | None],
    ) -> PathCosts:
        """Bills of the period from what is used in each slice, (paths or 1, columns), and its mean factors by charge.

        A path costs exactly what `rate_versions` charges for the same quantities; where there is less usage than in
        the whole period, fees and bounds are still those of the whole period. Raises what `rate_paths` raises.
        """
        if len(self.slices) == 1:
            return rate_paths(self.slices[0].plan, columns, usage[0], factors[0])
        count = max(map(len, usage))
        totals = [NOTHING] * count
        parts: dict[Part, list[Decimal]] = {}
        for one, used, means in zip(self.slices, usage, factors, strict=True):
            cost = rate_paths(one.plan, columns, used, _of_rows(means, len(used)), one.share)
            for part, amounts in ({**cost.parts, NO_USAGE: _moved(cost, one.moved)}).items():
                parts[part] = _added(parts.get(part), amounts, count)
            totals = _added(totals, [total + one.moved for total in cost.totals], count)
        return PathCosts(totals, parts)


def _of_rows(means: Means | None, count: int) -> Means | None:
    """Mean factors of the first paths: what is the same on all paths is priced once."""
    if means is None:
        return None
    return {name: mean if isinstance(mean, Decimal) else mean[:count] for name, mean in means.items()}


def _moved(cost: PathCosts, moved: Decimal) -> list[Decimal]:
    return [amount + moved for amount in cost.parts.get(NO_USAGE, [NOTHING] * len(cost.totals))]


def _added(sums: list[Decimal] | None, amounts: list[Decimal], count: int) -> list[Decimal]:
    every = amounts * count if len(amounts) == 1 else amounts
    return every if sums is None else [one + other for one, other in zip(sums, every, strict=True)]
