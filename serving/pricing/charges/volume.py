"""Volume: the tier that the total falls into prices every unit."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.charges.tier import Tier, Tiered, portions
from serving.pricing.line import Step, plain
from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class Volume(Tiered):
    """Volume tiers; more usage can cost less, so quantiles of cost come from rated paths only."""

    def amount(self, quantity: Decimal) -> Decimal:
        """quantity x unit price of the last tier entered + that tier's flat fee."""
        if quantity == 0 and not self.charge_at_zero:
            return Decimal(0)
        tier = self._tier(quantity)
        return PRECISION.multiply(quantity, tier.unit_price) + tier.flat_fee

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """The product at the tier's price."""
        if quantity == 0 and not self.charge_at_zero:
            return ()
        tier = self._tier(quantity)
        formula = f"{plain(quantity)} x {tier.unit_price}" + (f" + {tier.flat_fee}" if tier.flat_fee else "")
        return (Step(formula, self.amount(quantity), tier.label),)

    def _tier(self, quantity: Decimal) -> Tier:
        return list(portions(self.tiers, quantity))[-1][0]
