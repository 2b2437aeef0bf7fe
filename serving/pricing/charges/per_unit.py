"""Per unit: quantity times price."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class PerUnit:
    """Every unit at the same price."""

    unit_price: Decimal

    def amount(self, quantity: Decimal) -> Decimal:
        """quantity x unit price."""
        return PRECISION.multiply(quantity, self.unit_price)

    def explain(self, quantity: Decimal) -> str:
        """The product."""
        return f"{quantity.normalize():f} x {self.unit_price}"
