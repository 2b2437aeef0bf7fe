"""Per unit: quantity times price."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.line import Step, plain
from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class PerUnit:
    """Every unit at the same price."""

    unit_price: Decimal

    def amount(self, quantity: Decimal) -> Decimal:
        """quantity x unit price."""
        return PRECISION.multiply(quantity, self.unit_price)

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """The product."""
        return (Step(f"{plain(quantity)} x {self.unit_price}", self.amount(quantity)),)
