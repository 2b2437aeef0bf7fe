"""Percentage: a share of the value of each event, with a fee per event, free events and bounds per event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.line import Step, plain
from serving.pricing.money import PRECISION

Events = tuple[Decimal, int]
"""The value of some events together, and how many they are; those of one record count as equal."""


@dataclass(frozen=True, slots=True)
class Percentage:
    """``rate_percent`` of each event's value plus ``fixed_fee``, kept between the bounds per event.

    The free allowance ends with the event that reaches the first of ``free_events`` and ``free_amount``; what an
    event goes beyond ``free_amount`` is charged.
    """

    rate_percent: Decimal
    fixed_fee: Decimal = Decimal(0)
    free_events: int | None = None
    free_amount: Decimal | None = None
    per_event_min: Decimal | None = None
    per_event_max: Decimal | None = None

    def event_amounts(self, events: Sequence[Events]) -> list[Decimal]:
        """The unrounded charge of every record of events, in their order."""
        return [sum((step.amount for step in steps), Decimal(0)) for steps in self._charged(events)]

    def event_steps(self, events: Sequence[Events]) -> tuple[Step, ...]:
        """The share of all values, the fees, and what the bounds per event changed."""
        sums: dict[str, tuple[Decimal, Decimal]] = {}
        for steps in self._charged(events):
            for step in steps:
                basis, amount = sums.get(step.label, (Decimal(0), Decimal(0)))
                sums[step.label] = basis + Decimal(step.formula or 0), PRECISION.add(amount, step.amount)
        texts = {
            "value": lambda basis: f"{self.rate_percent} % of {plain(basis)}",
            "fee": lambda basis: f"{plain(basis)} x {self.fixed_fee}",
            "bounds": lambda basis: f"bounds of {plain(basis)} events",
        }
        return tuple(Step(texts[label](basis), amount, label) for label, (basis, amount) in sums.items() if amount)

    def amount(self, quantity: Decimal) -> Decimal:
        """The charge of one event of that value."""
        return self.event_amounts([(quantity, 1)])[0] if quantity else Decimal(0)

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """The steps of one event of that value."""
        return self.event_steps([(quantity, 1)]) if quantity else ()

    def _charged(self, events: Sequence[Events]) -> list[list[Step]]:
        """What every record owes, by kind; the formula of a step holds what it is counted from."""
        charged: list[list[Step]] = []
        seen, value_seen = 0, Decimal(0)
        for value, count in events:
            free_count = self._free_count(seen, value_seen, value, count)
            each = PRECISION.divide(value, Decimal(count))
            rest, partly = value - each * free_count, free_count
            value_seen_here = value_seen + each * free_count
            seen, value_seen = seen + count, value_seen + value
            if free_count == count:
                charged.append([])
                continue
            still = self.free_events is None or seen - count + partly < self.free_events
            left = self.free_amount - value_seen_here if self.free_amount is not None and still else Decimal(0)
            charged.append(self._owed(rest - max(Decimal(0), min(left, rest)), count - free_count))
        return charged

    def _free_count(self, seen: int, value_seen: Decimal, value: Decimal, count: int) -> int:
        """How many of a record's events are free as a whole."""
        if self.free_events is None and self.free_amount is None:
            return 0
        free = count if self.free_events is None else max(0, min(count, self.free_events - seen))
        if self.free_amount is not None and value:
            left = max(Decimal(0), self.free_amount - value_seen)
            free = min(free, int(PRECISION.divide(left * count, value)))
        return free

    def _owed(self, value: Decimal, count: int) -> list[Step]:
        share = PRECISION.multiply(value, self.rate_percent / 100)
        fee = self.fixed_fee * count
        plain_amount = PRECISION.add(share, fee)
        amount = plain_amount if self.per_event_min is None else max(plain_amount, self.per_event_min * count)
        amount = amount if self.per_event_max is None else min(amount, self.per_event_max * count)
        steps = [Step(str(value), share, "value"), Step(str(count), fee, "fee")]
        return steps if amount == plain_amount else [*steps, Step(str(count), amount - plain_amount, "bounds")]
