"""Threshold: a unit price whose factor on the whole amount depends on the highest level reached."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.line import Step, plain
from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class Level:
    """From this quantity on (inclusive) the whole amount is multiplied by ``factor``."""

    at: Decimal
    factor: Decimal


@dataclass(frozen=True, slots=True)
class Threshold:
    """quantity x unit price x factor of the highest level reached; unlike tiers, a level counts from its bound on."""

    unit_price: Decimal
    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        """Raises ValueError unless levels rise."""
        bounds = [level.at for level in self.levels]
        if bounds != sorted(set(bounds)):
            raise ValueError(f"levels must rise; found {', '.join(map(str, bounds))}")

    def factor(self, quantity: Decimal) -> Decimal:
        """The factor of the highest level that the quantity reaches, 1 below the first."""
        return next((level.factor for level in reversed(self.levels) if quantity >= level.at), Decimal(1))

    def amount(self, quantity: Decimal) -> Decimal:
        """quantity x unit price x factor."""
        return PRECISION.multiply(PRECISION.multiply(quantity, self.unit_price), self.factor(quantity))

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """The product with its factor."""
        return (Step(f"{plain(quantity)} x {self.unit_price} x {self.factor(quantity)}", self.amount(quantity)),)
