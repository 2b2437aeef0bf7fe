"""Steps on a quantity before it is priced: free units, rounding, blocks."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Protocol

from serving.pricing.money import PRECISION

_ROUNDINGS = {"round": ROUND_HALF_UP, "ceil": ROUND_CEILING, "floor": ROUND_FLOOR}


class QuantityStep(Protocol):
    """A step from a quantity to the next."""

    def apply(self, quantity: Decimal) -> Decimal:
        """The quantity after the step."""
        ...


@dataclass(frozen=True, slots=True)
class FreeUnits:
    """The first units cost nothing."""

    units: Decimal

    def apply(self, quantity: Decimal) -> Decimal:
        """What is left after the free units, never below 0."""
        return max(Decimal(0), quantity - self.units)


@dataclass(frozen=True, slots=True)
class Rounding:
    """``round`` (half away from zero), ``ceil`` or ``floor`` to ``precision`` decimals; negative: tens, hundreds."""

    function: str
    precision: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown function."""
        if self.function not in _ROUNDINGS:
            raise ValueError(f"rounding function {self.function!r}; allowed are {', '.join(_ROUNDINGS)}")

    def apply(self, quantity: Decimal) -> Decimal:
        """The rounded quantity."""
        unit = Decimal(1).scaleb(-self.precision)
        whole = PRECISION.divide(quantity, unit).to_integral_value(_ROUNDINGS[self.function])
        return PRECISION.multiply(whole, unit)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Counts blocks of a size, one begun as one; tiers and prices after it are per block."""

    size: Decimal

    def __post_init__(self) -> None:
        """Raises ValueError for a size that is not positive."""
        if self.size <= 0:
            raise ValueError(f"a block of {self.size} units; it must be above 0")

    def apply(self, quantity: Decimal) -> Decimal:
        """The number of blocks."""
        return PRECISION.divide(quantity, self.size).to_integral_value(ROUND_CEILING)
