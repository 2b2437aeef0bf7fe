"""Dynamic: every event carries its own price; the meter's sum is money already."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.line import Step, plain
from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class Dynamic:
    """The sum of the prices that events carry, times a multiplier (a margin, or 0.01 when events carry cents)."""

    multiplier: Decimal = Decimal(1)

    def amount(self, quantity: Decimal) -> Decimal:
        """quantity x multiplier."""
        return PRECISION.multiply(quantity, self.multiplier)

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """The product."""
        return (Step(f"{plain(quantity)} carried by events x {self.multiplier}", self.amount(quantity)),)
