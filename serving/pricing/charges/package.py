"""Package: usage is sold in packages of a size, each at one price."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from serving.pricing.line import Step
from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class Package:
    """Packages of ``package_size`` units; a package that is begun is charged (``round: up``) or free (``down``)."""

    price: Decimal
    package_size: Decimal
    free_units: Decimal = Decimal(0)
    round: str = "up"
    minimum_packages: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for a size that is not positive."""
        if self.package_size <= 0:
            raise ValueError(f"package_size is {self.package_size}; it must be above 0")

    def packages(self, quantity: Decimal) -> Decimal:
        """How many packages a quantity is charged as."""
        over = max(Decimal(0), quantity - self.free_units)
        whole = PRECISION.divide(over, self.package_size).to_integral_value(
            ROUND_CEILING if self.round == "up" else ROUND_FLOOR
        )
        return max(Decimal(self.minimum_packages), whole)

    def amount(self, quantity: Decimal) -> Decimal:
        """packages x price."""
        return PRECISION.multiply(self.packages(quantity), self.price)

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """Packages, their size and their price."""
        free = f" after {self.free_units:f} free" if self.free_units else ""
        formula = f"{self.packages(quantity):f} packages of {self.package_size:f}{free} x {self.price}"
        return (Step(formula, self.amount(quantity)),)
