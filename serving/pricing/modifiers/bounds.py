"""Minimum and maximum of a charge or a whole period: a true-up and an explicit discount, never a hidden clamp."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from serving.pricing.line import NO_USAGE, Line, Step, deduction, summed
from serving.pricing.modifiers.running import Running
from serving.pricing.money import PRECISION, rounded


def minimum_line(running: Running) -> None:
    """The true-up to a minimum: nothing that was used caused it."""
    low = running.charge.minimum
    if low is None:
        return
    bound = PRECISION.multiply(low, running.share)
    gap = bound - running.precise
    if gap > 0:
        running.line("minimum", f"{bound} - {running.amount}", gap, {NO_USAGE: Decimal(1)})


def maximum_line(running: Running) -> None:
    """The discount down to a maximum, shared by what was used."""
    high = running.charge.maximum
    if high is None:
        return
    bound = PRECISION.multiply(high, running.share)
    gap = bound - running.precise
    if gap < 0:
        running.line("maximum", f"{bound} - {running.amount}", gap)


def spend_bounds(
    minimum: Decimal | None, maximum: Decimal | None, lines: Sequence[Line], currency: str, share: Decimal
) -> list[Line]:
    """The true-up or the discount that brings a whole period to its minimum or maximum spend, after discounts."""
    parts = summed(lines)
    spent = sum(parts.values(), Decimal(0))
    low = rounded(PRECISION.multiply(minimum, share), currency) if minimum is not None else spent
    high = rounded(PRECISION.multiply(maximum, share), currency) if maximum is not None else max(spent, low)
    if spent < low:
        gap, formula = low - spent, f"{low} - {spent}"
        about = "True-up to the minimum spend"
        owed = {NO_USAGE: gap}
        return [Line("minimum", about, "minimum", "", Decimal(0), gap, gap, formula, owed, (Step(formula, gap),))]
    if spent > high:
        about = "Discount to the maximum spend"
        return [deduction("maximum", "maximum", about, spent - high, f"{high} - {spent}", parts, currency)]
    return []
