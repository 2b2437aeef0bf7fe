"""Proration: what part of a billing period a slice of it is, and what a fee paid in advance gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.charges.flat import Flat
from serving.pricing.line import NO_USAGE, Line, Step
from serving.pricing.money import PRECISION, rounded
from serving.pricing.plan import Charge
from serving.pricing.usage import Period

DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a whole billing period by time, and by the UTC days that begin in it."""

    of_time: Decimal = Decimal(1)
    by_day: Decimal | None = None

    @property
    def of_days(self) -> Decimal:
        """The share by days, that by time where it was not counted."""
        return self.of_time if self.by_day is None else self.by_day


WHOLE = Share()
"""A period that is a whole billing period."""


def share_of(part: Period, whole: Period) -> Share:
    """The share of a slice; those of all slices of a period add up to 1."""
    time = PRECISION.divide(Decimal(part.end_ns - part.start_ns), Decimal(whole.end_ns - whole.start_ns))
    days = _days(whole)
    return Share(time, PRECISION.divide(Decimal(_days(part)), Decimal(days)) if days else time)


def unused_lines(charges: Sequence[Charge], rest: Share, currency: str) -> list[Line]:
    """What fees paid in advance give back for the rest of a period, a negative line each."""
    lines = []
    for charge in charges:
        model = charge.model
        if not isinstance(model, Flat) or model.due != "advance":
            continue
        share = rest.of_days if model.prorate == "day" else rest.of_time
        precise = -PRECISION.multiply(model.price, share)
        amount = rounded(precise, currency)
        if amount:
            formula, about = f"-{model.price} x {share}", f"{charge.description}: unused rest of the period"
            steps, parts = (Step(formula, precise),), {NO_USAGE: amount}
            line_id, code = f"{charge.id}:unused", charge.tax_code
            lines.append(Line(line_id, about, "unused", "", Decimal(0), precise, amount, formula, parts, steps, code))
    return lines


def _days(period: Period) -> int:
    return -(-period.end_ns // DAY_NS) - -(-period.start_ns // DAY_NS)
