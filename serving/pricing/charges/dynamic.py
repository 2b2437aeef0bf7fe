"""Dynamic: every event carries its own price; the meter's sum is money already."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class Dynamic:
    """The sum of the prices that events carry, times a multiplier (a margin, or 0.01 when events carry cents)."""

    multiplier: Decimal = Decimal(1)

    def amount(self, quantity: Decimal) -> Decimal:
        """quantity x multiplier."""
        return PRECISION.multiply(quantity, self.multiplier)

    def explain(self, quantity: Decimal) -> str:
        """The product."""
        return f"{quantity.normalize():f} carried by events x {self.multiplier}"
