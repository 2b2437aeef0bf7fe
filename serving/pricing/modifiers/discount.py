"""Discounts: percent or amount off, of a charge or of the whole invoice, one after the other, never below zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.line import Line, deduction, summed
from serving.pricing.modifiers.running import Running
from serving.pricing.money import PRECISION, rounded


@dataclass(frozen=True, slots=True)
class Discount:
    """Either ``percent_off`` (0..100) or ``amount_off`` of what the lines before it add up to."""

    id: str
    percent_off: Decimal | None = None
    amount_off: Decimal | None = None

    def __post_init__(self) -> None:
        """Raises ValueError unless exactly one is given and it is in range."""
        if (self.percent_off is None) == (self.amount_off is None):
            raise ValueError(f"discount {self.id!r} has either percent_off or amount_off; give one of the two")
        if self.percent_off is not None and not 0 <= self.percent_off <= 100:
            raise ValueError(f"discount {self.id!r} takes {self.percent_off} % off; between 0 and 100 is allowed")
        if self.amount_off is not None and self.amount_off < 0:
            raise ValueError(f"discount {self.id!r} takes {self.amount_off} off; it must not be negative")

    def off(self, amount: Decimal) -> Decimal:
        """What is taken off an amount: between 0 and the amount."""
        if amount <= 0:
            return Decimal(0)
        if self.percent_off is not None:
            return PRECISION.multiply(amount, self.percent_off / 100)
        return min(amount, self.amount_off or Decimal(0))

    @property
    def formula(self) -> str:
        """The discount in words."""
        return f"{self.percent_off} % off" if self.percent_off is not None else f"{self.amount_off} off"


def discount_lines(running: Running) -> None:
    """Add a negative line for every discount of the charge, each on what the one before has left."""
    for discount in running.charge.discounts:
        off = discount.off(running.precise)
        running.line("discount", discount.formula, -off, tag=f"discount:{discount.id}")


def invoice_discounts(discounts: Sequence[Discount], lines: Sequence[Line], currency: str) -> list[Line]:
    """A negative line for every discount of the whole invoice, one after the other, on rounded sums."""
    added: list[Line] = []
    for discount in discounts:
        parts = summed([*lines, *added])
        off = rounded(discount.off(sum(parts.values(), Decimal(0))), currency)
        if off:
            about = f"Discount {discount.id}"
            added.append(
                deduction(f"discount:{discount.id}", "discount", about, off, discount.formula, parts, currency)
            )
    return added
