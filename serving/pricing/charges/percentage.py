"""Percentage: a share of the value of each event, with a fee per event, free events and bounds per event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.money import PRECISION


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

    def event_amounts(self, values: Sequence[Decimal]) -> list[Decimal]:
        """The unrounded charge of every event, in their order."""
        amounts: list[Decimal] = []
        seen, value_seen = 0, Decimal(0)
        for value in values:
            free = self._free(seen, value_seen, value)
            seen, value_seen = seen + 1, value_seen + value
            amounts.append(Decimal(0) if free == value and free is not None else self._charge(value - (free or 0)))
        return amounts

    def amount(self, quantity: Decimal) -> Decimal:
        """The charge of one event of that value."""
        return self.event_amounts([quantity])[0] if quantity else Decimal(0)

    def totals(self, value: Decimal, events: int) -> Decimal:
        """The charge of many events known by their sums only; raises ValueError where bounds per event need each."""
        if self.per_event_min is not None or self.per_event_max is not None:
            raise ValueError("bounds per event need the value of every event; price the events one by one")
        charged = max(Decimal(0), value - (self.free_amount or 0))
        count = max(0, events - (self.free_events or 0))
        return PRECISION.add(PRECISION.multiply(charged, self.rate_percent / 100), self.fixed_fee * count)

    def explain(self, quantity: Decimal) -> str:
        """The rate and fee in words."""
        return f"{self.rate_percent} % of {quantity.normalize():f}" + (
            f" + {self.fixed_fee} an event" if self.fixed_fee else ""
        )

    def _free(self, seen: int, value_seen: Decimal, value: Decimal) -> Decimal | None:
        """How much of an event's value is free; None when nothing of it is."""
        if self.free_events is None and self.free_amount is None:
            return None
        if self.free_events is not None and seen >= self.free_events:
            return None
        if self.free_amount is None:
            return value
        left = self.free_amount - value_seen
        return min(value, left) if left > 0 else None

    def _charge(self, value: Decimal) -> Decimal:
        amount = PRECISION.add(PRECISION.multiply(value, self.rate_percent / 100), self.fixed_fee)
        if self.per_event_min is not None:
            amount = max(amount, self.per_event_min)
        return amount if self.per_event_max is None else min(amount, self.per_event_max)
