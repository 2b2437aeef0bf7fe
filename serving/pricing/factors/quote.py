"""Quotes: a promise that a quantity used within a time costs at most a stated factor times the list price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

Used = Mapping[tuple[str, str], Decimal]
"""Quantities that quotes have covered, by quote and charge."""


@dataclass(frozen=True, slots=True)
class Quote:
    """Events in [from_ns, until_ns) cost at most ``factor`` times the list price.

    ``charge_id`` names the one charge it is for (empty: all); ``quantity`` bounds how much it is for, None is no bound.
    """

    id: str
    from_ns: int
    until_ns: int
    factor: Decimal
    charge_id: str = ""
    quantity: Decimal | None = None

    def holds(self, time_ns: int) -> bool:
        """Whether an instant is inside the promised time."""
        return self.from_ns <= time_ns < self.until_ns


class QuoteBook:
    """What is left of quotes while a charge is metered event by event, in the order of time."""

    def __init__(self, quotes: Sequence[Quote], charge_id: str, used: Used) -> None:
        """Quotes that promise something for the charge, less what was ``used``; the cheapest is used first."""
        mine = [quote for quote in quotes if quote.charge_id in ("", charge_id)]
        self._quotes = sorted(mine, key=lambda quote: (quote.factor, quote.until_ns, quote.id))
        self._left = {
            quote.id: None if quote.quantity is None else quote.quantity - used.get((quote.id, charge_id), 0)
            for quote in self._quotes
        }

    def cover(self, time_ns: int, quantity: Decimal, factor: Decimal) -> list[tuple[str, Decimal, Decimal]]:
        """(quote, quantity, factor promised) of what quotes cover of an event that would cost ``factor``."""
        covered = []
        for quote in self._quotes:
            if quantity <= 0 or quote.factor >= factor:
                break
            left = self._left[quote.id]
            if not quote.holds(time_ns) or left == 0:
                continue
            taken = quantity if left is None else min(quantity, left)
            if left is not None:
                self._left[quote.id] = left - taken
            quantity -= taken
            covered.append((quote.id, taken, quote.factor))
        return covered
