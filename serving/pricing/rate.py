"""Rating: the usage of a billing period through a plan, line by line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from serving.pricing.charges.flat import Flat
from serving.pricing.factors.conditions import LIST_PRICE, Conditions
from serving.pricing.factors.quote import Used
from serving.pricing.line import NO_USAGE, Line, Part, Step, summed, text
from serving.pricing.metering import Metered, metered
from serving.pricing.modifiers.bounds import spend_bounds
from serving.pricing.modifiers.credit import Credit, credit_lines
from serving.pricing.modifiers.discount import invoice_discounts
from serving.pricing.modifiers.order import apply_steps
from serving.pricing.modifiers.running import Running
from serving.pricing.money import PRECISION, rounded, split
from serving.pricing.plan import Charge, Plan, prices_cells, prices_events, prices_inputs
from serving.pricing.proration import WHOLE, Share
from serving.pricing.usage import Period, UsageRecord


@dataclass(frozen=True, slots=True)
class Invoice:
    """All lines of one user and period under one plan; ``covered`` is how much quotes were for."""

    plan_id: str
    plan_version: int
    currency: str
    period: Period
    lines: tuple[Line, ...]
    covered: Used = field(default_factory=dict)

    @property
    def total(self) -> Decimal:
        """The sum of the rounded lines."""
        return sum((line.amount for line in self.lines), Decimal(0))

    def parts(self) -> dict[Part, Decimal]:
        """The total by operation and micro-operation type; adds up exactly."""
        return summed(self.lines)

    def taxable(self) -> dict[str, Decimal]:
        """What a tax system taxes, by tax code: everything but prepaid credits, which pay and do not reduce.

        Deductions of the whole invoice are shared by the codes in proportion.
        """
        owed: dict[str, Decimal] = {}
        for line in self.lines:
            if line.kind != "credit" and (line.meter or not _of_invoice(line)):
                owed[line.tax_code] = owed.get(line.tax_code, Decimal(0)) + line.amount
        for line in self.lines:
            if _of_invoice(line) and line.kind != "credit":
                shares = split(line.amount, [max(Decimal(0), amount) for amount in owed.values()], self.currency)
                owed = {code: owed[code] + share for code, share in zip(owed, shares, strict=True)}
        return owed


def rate(
    plan: Plan,
    usage: Sequence[UsageRecord],
    period: Period,
    credits: Sequence[Credit] = (),
    share: Share | Decimal = WHOLE,
    conditions: Conditions = LIST_PRICE,
) -> Invoice:
    """Rate the records that start inside the period; the order of records does not matter.

    ``share`` is the part of a whole billing period that the period is: fees, minimums, maximums and committed
    amounts are charged in that share. ``conditions`` hold what the factors of charges depend on.
    """
    inside = [record for record in usage if period.start_ns <= record.start_ns < period.end_ns]
    counts = [metered(charge, inside, plan, period, conditions) for charge in plan.charges]
    lines = plan_lines(plan, counts, share if isinstance(share, Share) else Share(share))
    lines += credit_lines(credits, lines, plan.currency, period.end_ns)
    covered = {
        (quote, charge.id): quantity
        for charge, count in zip(plan.charges, counts, strict=True)
        for quote, quantity in count.covered.items()
    }
    return Invoice(plan.id, plan.version, plan.currency, period, tuple(lines), covered)


def plan_lines(plan: Plan, counted: Sequence[Metered], share: Share = WHOLE, explained: bool = True) -> list[Line]:
    """The lines of all charges from what each one's meter counted, then what happens to the whole invoice."""
    lines = [
        line
        for charge, count in zip(plan.charges, counted, strict=True)
        for line in charge_lines(charge, count, plan.currency, share, explained)
    ]
    lines += invoice_discounts(plan.discounts, lines, plan.currency)
    return lines + spend_bounds(plan.minimum, plan.maximum, lines, plan.currency, share.of_time)


def charge_lines(
    charge: Charge, count: Metered, currency: str, share: Share = WHOLE, explained: bool = True
) -> list[Line]:
    """The lines of one charge: its usage, then every modifier that bites; without explanation they come quicker."""
    billed = count.whole if charge.meter is not None else Decimal(1)
    for step in charge.quantity_steps:
        billed = step.apply(billed)
    weights, precise = _priced(charge, count, billed)
    if charge.meter is None and not charge.inputs:
        precise = PRECISION.multiply(precise, _fee_share(charge, share))
    amount = rounded(precise, currency)
    some = any(weights.values())
    shares = split(amount, list(weights.values()), currency)
    parts = dict(zip(weights, shares, strict=True)) if some else {NO_USAGE: amount}
    steps = _steps(charge, count, billed, share, precise) if explained else ()
    meter = charge.meter.id if charge.meter is not None else ", ".join(one.id for one in charge.inputs)
    formula = text(steps) if explained else ""
    about = charge.description
    line = Line(charge.id, about, "usage", meter, billed, precise, amount, formula, parts, steps, charge.tax_code)
    return apply_steps(Running(charge, currency, share.of_time, count.weights, count.surcharges, [line]))


def _priced(charge: Charge, count: Metered, billed: Decimal) -> tuple[Mapping[Part, Decimal], Decimal]:
    """Weights by part, and the unrounded charge."""
    model = charge.model
    if prices_cells(model):
        return count.amounts, sum(count.amounts.values(), Decimal(0))
    if prices_events(model):
        charged = model.event_amounts([value for _, value in count.events])
        sums: dict[Part, Decimal] = {}
        for (part, _), amount in zip(count.events, charged, strict=True):
            sums[part] = PRECISION.add(sums.get(part, Decimal(0)), amount)
        return dict(sorted(sums.items())), sum(charged, Decimal(0))
    if prices_inputs(model):
        quantities = {name: one.whole for name, one in count.inputs.items()}
        whole = model.input_amount(quantities)
        weights: dict[Part, Decimal] = {}
        for name, one in count.inputs.items():
            caused = abs(whole - model.input_amount(quantities | {name: Decimal(0)}))
            used = sum(one.quantities.values(), Decimal(0))
            for part, quantity in one.quantities.items():
                mine = PRECISION.divide(PRECISION.multiply(caused, quantity), used)
                weights[part] = PRECISION.add(weights.get(part, Decimal(0)), mine)
        return dict(sorted(weights.items())), whole
    return count.quantities, model.amount(billed)


def _steps(charge: Charge, count: Metered, billed: Decimal, share: Share, precise: Decimal) -> tuple[Step, ...]:
    """How the usage line came about, adding up to its unrounded amount."""
    model = charge.model
    if prices_cells(model):
        return model.cell_steps(count.cells)
    if prices_events(model):
        return model.event_steps([value for _, value in count.events])
    if prices_inputs(model):
        return model.input_steps({name: one.whole for name, one in count.inputs.items()})
    steps = model.steps(billed)
    part = _fee_share(charge, share) if charge.meter is None else Decimal(1)
    return steps if part == 1 else (Step(f"{text(steps)} x {part}", precise),)


def _fee_share(charge: Charge, share: Share) -> Decimal:
    model = charge.model
    return share.of_days if isinstance(model, Flat) and model.prorate == "day" else share.of_time


def _of_invoice(line: Line) -> bool:
    """Whether a line is about the invoice as a whole and not about one charge."""
    return line.id.startswith(("discount:", "credit:", "sla:")) or line.id in ("minimum", "maximum")
