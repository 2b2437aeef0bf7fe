"""Graduated percentage: each part of a value at the rate of its tier, plus the flat fee of every tier entered."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.charges.tier import Tiered, portions
from serving.pricing.line import Step, plain
from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class GraduatedPercentage(Tiered):
    """Tiers whose ``unit_price`` is a rate in percent of the value."""

    def amount(self, quantity: Decimal) -> Decimal:
        """Sum over the tiers entered of part x rate / 100 + flat fee."""
        if quantity == 0 and not self.charge_at_zero:
            return Decimal(0)
        total = Decimal(0)
        for tier, part in portions(self.tiers, quantity):
            total = PRECISION.add(total, PRECISION.multiply(part, tier.unit_price) / 100 + tier.flat_fee)
        return total

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """The sum, tier by tier."""
        if quantity == 0 and not self.charge_at_zero:
            return ()
        return tuple(
            Step(
                f"{tier.unit_price} % of {plain(part)}" + (f" + {tier.flat_fee}" if tier.flat_fee else ""),
                PRECISION.multiply(part, tier.unit_price) / 100 + tier.flat_fee,
                tier.label,
            )
            for tier, part in portions(self.tiers, quantity)
        )
