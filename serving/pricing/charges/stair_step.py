"""Stair step: one flat price for the span that the total falls into."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.charges.tier import Tier, check_tiers, portions
from serving.pricing.line import Step


@dataclass(frozen=True, slots=True)
class StairStep:
    """The ``flat_fee`` of the tier that holds the quantity, whatever the quantity inside it."""

    tiers: tuple[Tier, ...]
    charge_at_zero: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError for tiers that do not rise, are not open at the end, or have unit prices."""
        check_tiers(self.tiers)
        if any(tier.unit_price for tier in self.tiers):
            raise ValueError("a stair step has no unit_price; give each tier a flat_fee, or use the model volume")

    def amount(self, quantity: Decimal) -> Decimal:
        """The fee of the step."""
        if quantity == 0 and not self.charge_at_zero:
            return Decimal(0)
        return list(portions(self.tiers, quantity))[-1][0].flat_fee

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """The step that was reached."""
        tier = list(portions(self.tiers, quantity))[-1][0]
        return (Step(f"step {tier.label}: {self.amount(quantity)}", self.amount(quantity), tier.label),)
