"""A change of plan in mid-period: the period is split where a version takes effect, each slice under its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from serving.pricing.factors.conditions import LIST_PRICE, Conditions
from serving.pricing.line import Part
from serving.pricing.money import PRECISION
from serving.pricing.plan import Plan
from serving.pricing.rate import Invoice, rate
from serving.pricing.usage import Period, UsageRecord


@dataclass(frozen=True, slots=True)
class SplitInvoice:
    """One invoice a slice, in the order of time; the total is the sum of theirs."""

    slices: tuple[Invoice, ...]

    @property
    def total(self) -> Decimal:
        """What the whole period costs."""
        return sum((invoice.total for invoice in self.slices), Decimal(0))

    def parts(self) -> dict[Part, Decimal]:
        """The total by operation and micro-operation type; adds up exactly."""
        sums: dict[Part, Decimal] = {}
        for invoice in self.slices:
            for part, amount in invoice.parts().items():
                sums[part] = sums.get(part, Decimal(0)) + amount
        return sums


def slices(versions: Sequence[Plan], period: Period) -> list[tuple[Plan, Period]]:
    """Which version holds when, from the latest in force at the period's start on.

    Raises ValueError when none is in force at the start, two take effect at once, or currencies differ.
    """
    if len({plan.currency for plan in versions}) > 1:
        raise ValueError("versions of different currencies cannot share a period; end the period at the change")
    ordered = sorted(versions, key=lambda plan: plan.effective_from_ns)
    for earlier, later in pairwise(ordered):
        if earlier.effective_from_ns == later.effective_from_ns:
            raise ValueError(f"versions {earlier.version} and {later.version} of {later.id!r} take effect at once")
    if not ordered or ordered[0].effective_from_ns > period.start_ns:
        raise ValueError("no version is in force at the start of the period; add the one that was")
    ends = [plan.effective_from_ns for plan in ordered[1:]] + [period.end_ns]
    cuts = [
        (plan, max(period.start_ns, plan.effective_from_ns), min(period.end_ns, end))
        for plan, end in zip(ordered, ends, strict=True)
    ]
    return [(plan, Period(start, end)) for plan, start, end in cuts if start < end]


def rate_versions(
    versions: Sequence[Plan], usage: Sequence[UsageRecord], period: Period, conditions: Conditions = LIST_PRICE
) -> SplitInvoice:
    """Rate a period during which the plan changes; fees and bounds are prorated to the nanosecond.

    Tiers start anew in every slice: a version prices the usage that was metered while it was in force.
    """
    whole = Decimal(period.end_ns - period.start_ns)
    return SplitInvoice(
        tuple(
            rate(
                plan,
                usage,
                part,
                share=PRECISION.divide(Decimal(part.end_ns - part.start_ns), whole),
                conditions=conditions,
            )
            for plan, part in slices(versions, period)
        )
    )
