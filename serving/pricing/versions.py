"""A change of plan in mid-period: the period is split where a version takes effect, each slice under its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise

from serving.pricing.charges.flat import Flat
from serving.pricing.factors.conditions import LIST_PRICE, Conditions
from serving.pricing.line import Line, Part
from serving.pricing.metering import Metered
from serving.pricing.modifiers.credit import Credit, credit_lines
from serving.pricing.plan import Plan
from serving.pricing.proration import Share, share_of, unused_lines
from serving.pricing.rate import Invoice, charge_lines, rate
from serving.pricing.usage import Period, UsageRecord


@dataclass(frozen=True, slots=True)
class SplitInvoice:
    """One invoice a slice, in the order of time; the total is the sum of theirs."""

    slices: tuple[Invoice, ...]

    @property
    def total(self) -> Decimal:
        """What the whole period costs."""
        return sum((invoice.total for invoice in self.slices), Decimal(0))

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines of all slices."""
        return tuple(line for invoice in self.slices for line in invoice.lines)

    @property
    def currency(self) -> str:
        """The one currency of all slices."""
        return self.slices[0].currency

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


def held_from(versions: Sequence[Plan], start_ns: int) -> list[Plan]:
    """Versions as they bill a period that starts then: the first holds from its start, even if it took effect later."""
    first = versions[0]
    if first.effective_from_ns > start_ns:
        first = replace(first, effective_from_ns=start_ns)
    return [first, *versions[1:]]


def rate_versions(
    versions: Sequence[Plan],
    usage: Sequence[UsageRecord],
    period: Period,
    conditions: Conditions = LIST_PRICE,
    credits: Sequence[Credit] = (),
) -> SplitInvoice:
    """Rate a period during which the plan changes; fees and bounds are prorated to the nanosecond.

    Tiers start anew in every slice: a version prices the usage that was metered while it was in force. A fee in
    advance is owed to the period's end when its version takes effect, and given back from when the next one does.
    Credits are used on the whole, and stand in the last slice.
    """
    cuts = slices(versions, period)
    if len(cuts) == 1:
        return SplitInvoice((rate(cuts[0][0], usage, period, credits, conditions=conditions),))
    made: list[Invoice] = []
    before: Plan | None = None
    for plan, part in cuts:
        rest = share_of(Period(part.start_ns, period.end_ns), period)
        bill = rate(plan, usage, part, share=share_of(part, period), conditions=conditions)
        lines = tuple(_in_advance(plan, line, rest) for line in bill.lines)
        given_back = tuple(unused_lines(before.charges, rest, plan.currency)) if before is not None else ()
        made.append(replace(bill, lines=given_back + lines))
        before = plan
    owed = [line for bill in made for line in bill.lines]
    used = credit_lines(credits, owed, made[-1].currency, period.end_ns)
    made[-1] = replace(made[-1], lines=(*made[-1].lines, *used))
    return SplitInvoice(tuple(made))


def _in_advance(plan: Plan, line: Line, rest: Share) -> Line:
    """A fee in advance as it is owed: from the slice's start to the end of the whole period."""
    charge = next((one for one in plan.charges if one.id == line.id), None)
    if charge is None or not isinstance(charge.model, Flat) or charge.model.due != "advance":
        return line
    return charge_lines(charge, Metered(), plan.currency, rest)[0]
