"""Rating: the usage of a billing period through a plan, line by line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.money import PRECISION, rounded, split
from serving.pricing.plan import Charge, Plan
from serving.pricing.usage import Period, UsageRecord

Part = tuple[str, str]
"""(operation, micro-operation type); two empty strings for what no usage caused, as fees and minimums."""

NO_USAGE: Part = ("", "")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice: ``amount`` rounded once from ``precise_amount``; parts add up to ``amount`` exactly."""

    id: str
    description: str
    kind: str
    meter: str
    quantity: Decimal
    precise_amount: Decimal
    amount: Decimal
    formula: str
    parts: Mapping[Part, Decimal]


@dataclass(frozen=True, slots=True)
class Invoice:
    """All lines of one user and period under one plan."""

    plan_id: str
    plan_version: int
    currency: str
    period: Period
    lines: tuple[Line, ...]

    @property
    def total(self) -> Decimal:
        """The sum of the rounded lines."""
        return sum((line.amount for line in self.lines), Decimal(0))

    def parts(self) -> dict[Part, Decimal]:
        """The total by operation and micro-operation type; adds up exactly."""
        sums: dict[Part, Decimal] = {}
        for line in self.lines:
            for part, amount in line.parts.items():
                sums[part] = sums.get(part, Decimal(0)) + amount
        return sums


def rate(plan: Plan, usage: Sequence[UsageRecord], period: Period) -> Invoice:
    """Rate the records that start inside the period; the order of records does not matter."""
    inside = [record for record in usage if period.start_ns <= record.start_ns < period.end_ns]
    lines = [
        line for charge in plan.charges for line in charge_lines(charge, _quantities(charge, inside), plan.currency)
    ]
    return Invoice(plan.id, plan.version, plan.currency, period, tuple(lines))


def charge_lines(charge: Charge, quantities: Mapping[Part, Decimal], currency: str) -> list[Line]:
    """The lines of one charge from its metered quantity by part: usage, and minimum or maximum where they bite."""
    quantity = sum(quantities.values(), Decimal(0)) if charge.meter is not None else Decimal(1)
    precise = charge.model.amount(quantity)
    amount = rounded(precise, currency)
    meter = charge.meter.id if charge.meter is not None else ""
    weights = list(quantities.values())
    shares = split(amount, weights, currency) if weights and quantity else [amount]
    parts = dict(zip(quantities, shares, strict=True)) if weights and quantity else {NO_USAGE: amount}
    formula = charge.model.explain(quantity)
    lines = [Line(charge.id, charge.description, "usage", meter, quantity, precise, amount, formula, parts)]
    if charge.minimum is not None and amount < charge.minimum:
        lines.append(_minimum(charge, charge.minimum, amount, currency))
    if charge.maximum is not None and amount > charge.maximum:
        lines.append(_maximum(charge, charge.maximum, lines[0], currency))
    return lines


def _minimum(charge: Charge, bound: Decimal, amount: Decimal, currency: str) -> Line:
    """The true-up to a minimum: nothing that was used caused it."""
    gap = rounded(bound, currency) - amount
    about = f"{charge.description}: true-up to the minimum of {bound}"
    return Line(
        f"{charge.id}:minimum", about, "minimum", "", Decimal(0), gap, gap, f"{bound} - {amount}", {NO_USAGE: gap}
    )


def _maximum(charge: Charge, bound: Decimal, line: Line, currency: str) -> Line:
    """The discount down to a maximum, shared by what was used."""
    gap = rounded(bound, currency) - line.amount
    about = f"{charge.description}: discount to the maximum of {bound}"
    parts = dict(zip(line.parts, split(gap, list(line.parts.values()), currency), strict=True))
    return Line(f"{charge.id}:maximum", about, "maximum", "", Decimal(0), gap, gap, f"{bound} - {line.amount}", parts)


def _quantities(charge: Charge, records: Sequence[UsageRecord]) -> dict[Part, Decimal]:
    """What the charge's meter counts, by part, parts in sorted order."""
    meter = charge.meter
    if meter is None:
        return {}
    sums: dict[Part, Decimal] = {}
    for record in records:
        if meter.takes(record.operation_id, record.micro_operation_type, record.meter):
            part = (record.operation_id, record.micro_operation_type)
            sums[part] = PRECISION.add(sums.get(part, Decimal(0)), meter.value.of(record.quantities))
    return dict(sorted((part, quantity) for part, quantity in sums.items() if quantity))
