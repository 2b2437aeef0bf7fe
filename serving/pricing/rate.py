"""Rating: the usage of a billing period through a plan, line by line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from serving.pricing.factors.conditions import LIST_PRICE, Conditions, event_factor
from serving.pricing.line import NO_USAGE, Line, Part, summed
from serving.pricing.modifiers.credit import Credit, credit_lines
from serving.pricing.modifiers.discount import invoice_discounts
from serving.pricing.modifiers.order import apply_steps
from serving.pricing.modifiers.running import Running
from serving.pricing.money import PRECISION, rounded, split
from serving.pricing.plan import Charge, Plan, prices_events, prices_parts
from serving.pricing.usage import Period, UsageRecord


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
        return summed(self.lines)


@dataclass(frozen=True, slots=True)
class Metered:
    """What a charge's meter counted, by part in sorted order, and event by event where its model asks for that.

    ``weights`` are what factors are averaged over (the list price in a matrix, else the quantity), ``surcharges``
    the sum of weight x (factor - 1), both by part; empty where the charge has no factors.
    """

    quantities: Mapping[Part, Decimal]
    events: Sequence[tuple[Part, Decimal]] = ()
    weights: Mapping[Part, Decimal] = field(default_factory=dict)
    surcharges: Mapping[Part, Decimal] = field(default_factory=dict)


def rate(
    plan: Plan,
    usage: Sequence[UsageRecord],
    period: Period,
    credits: Sequence[Credit] = (),
    share: Decimal = Decimal(1),
    conditions: Conditions = LIST_PRICE,
) -> Invoice:
    """Rate the records that start inside the period; the order of records does not matter.

    ``share`` is the part of a whole billing period that the period is: fees, minimums, maximums and committed
    amounts are charged in that share. ``conditions`` hold what the factors of charges depend on.
    """
    inside = [record for record in usage if period.start_ns <= record.start_ns < period.end_ns]
    lines = plan_lines(plan, [metered(charge, inside, plan, conditions) for charge in plan.charges], share)
    lines += credit_lines(credits, lines, plan.currency, period.end_ns)
    return Invoice(plan.id, plan.version, plan.currency, period, tuple(lines))


def plan_lines(plan: Plan, counted: Sequence[Metered], share: Decimal = Decimal(1)) -> list[Line]:
    """The lines of all charges from what each one's meter counted, and the discounts of the whole invoice."""
    lines = [
        line
        for charge, count in zip(plan.charges, counted, strict=True)
        for line in charge_lines(charge, count, plan.currency, share)
    ]
    return lines + invoice_discounts(plan.discounts, lines, plan.currency)


def charge_lines(charge: Charge, count: Metered, currency: str, share: Decimal = Decimal(1)) -> list[Line]:
    """The lines of one charge: its usage, then every modifier that bites."""
    quantity = sum(count.quantities.values(), Decimal(0)) if charge.meter is not None else Decimal(1)
    billed = quantity
    for step in charge.quantity_steps:
        billed = step.apply(billed)
    weights, precise = _priced(charge, count, billed)
    if charge.meter is None:
        precise = PRECISION.multiply(precise, share)
    amount = rounded(precise, currency)
    meter = charge.meter.id if charge.meter is not None else ""
    some = any(weights.values())
    shares = split(amount, list(weights.values()), currency)
    parts = dict(zip(weights, shares, strict=True)) if some else {NO_USAGE: amount}
    formula = charge.model.explain(billed) + (f" x {share}" if charge.meter is None and share != 1 else "")
    line = Line(charge.id, charge.description, "usage", meter, billed, precise, amount, formula, parts)
    return apply_steps(Running(charge, currency, share, count.weights, count.surcharges, [line]))


def _priced(charge: Charge, count: Metered, billed: Decimal) -> tuple[Mapping[Part, Decimal], Decimal]:
    """Weights by part, and the unrounded charge."""
    model = charge.model
    if prices_parts(model):
        amounts = model.part_amounts(count.quantities)
        return amounts, sum(amounts.values(), Decimal(0))
    if prices_events(model):
        charged = model.event_amounts([value for _, value in count.events])
        sums: dict[Part, Decimal] = {}
        for (part, _), amount in zip(count.events, charged, strict=True):
            sums[part] = PRECISION.add(sums.get(part, Decimal(0)), amount)
        return dict(sorted(sums.items())), sum(charged, Decimal(0))
    return count.quantities, model.amount(billed)


def metered(charge: Charge, records: Sequence[UsageRecord], plan: Plan, conditions: Conditions = LIST_PRICE) -> Metered:
    """What the charge's meter counts in records, and what factors at their instants make of it."""
    meter = charge.meter
    if meter is None:
        return Metered({})
    sums: dict[Part, Decimal] = {}
    weights: dict[Part, Decimal] = {}
    surcharges: dict[Part, Decimal] = {}
    events: list[tuple[int, Part, Decimal]] = []
    for record in records:
        if not meter.takes(record.operation_id, record.micro_operation_type, record.meter):
            continue
        part = (record.operation_id, record.micro_operation_type)
        value = meter.value.of(record.quantities)
        _add(sums, part, value)
        if value and prices_events(charge.model):
            events.append((record.start_ns, part, value))
        if value and charge.factors:
            factor = event_factor(charge.factors, plan.factor_bounds, conditions, record.start_ns)
            weight = charge.model.part_amounts({part: value})[part] if prices_parts(charge.model) else value
            _add(weights, part, weight)
            _add(surcharges, part, PRECISION.multiply(weight, factor - 1))
    quantities = dict(sorted((part, quantity) for part, quantity in sums.items() if quantity))
    ordered = [(part, value) for _, part, value in sorted(events)]
    return Metered(quantities, ordered, dict(sorted(weights.items())), dict(sorted(surcharges.items())))


def _add(sums: dict[Part, Decimal], part: Part, value: Decimal) -> None:
    sums[part] = PRECISION.add(sums.get(part, Decimal(0)), value)
