"""Commitment: a spend agreed in advance, with a dearer (or cheaper) rate beyond it and a true-up below it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.line import NO_USAGE
from serving.pricing.modifiers.running import Running
from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class Commitment:
    """A committed ``amount``, or a committed ``quantity`` priced by the charge's own model; one of the two.

    Beyond it, usage costs ``overage_factor`` times its price; below it, ``true_up`` bills the difference.
    """

    amount: Decimal | None = None
    quantity: Decimal | None = None
    overage_factor: Decimal = Decimal(1)
    true_up: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError unless exactly one of amount and quantity is given."""
        if (self.amount is None) == (self.quantity is None):
            raise ValueError("a commitment has either an amount or a quantity; give one of the two")


def commitment_line(running: Running) -> None:
    """The overage surcharge above a commitment or the true-up below it."""
    commitment = running.charge.commitment
    if commitment is None:
        return
    committed = commitment.amount
    if committed is None:
        committed = running.charge.model.amount(commitment.quantity or Decimal(0))
    committed = PRECISION.multiply(committed, running.share)
    gap = running.precise - committed
    if gap > 0 and commitment.overage_factor != 1:
        extra = PRECISION.multiply(gap, commitment.overage_factor - 1)
        running.line("overage", f"{gap} beyond {committed} x {commitment.overage_factor - 1}", extra)
    elif gap < 0 and commitment.true_up:
        running.line("commitment", f"{committed} - {running.precise}", -gap, {NO_USAGE: Decimal(1)})
