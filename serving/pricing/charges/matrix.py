"""Matrix: the unit price depends on the operation, the micro-operation type or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.line import Part
from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class Cell:
    """A price for usage of this operation and micro-operation type; empty matches any."""

    unit_price: Decimal
    operation: str = ""
    micro_operation_type: str = ""

    def matches(self, part: Part) -> bool:
        """Whether the cell prices usage of this part."""
        return self.operation in ("", part[0]) and self.micro_operation_type in ("", part[1])


@dataclass(frozen=True, slots=True)
class Matrix:
    """The first cell that matches prices the usage; ``unit_price`` prices what no cell does."""

    unit_price: Decimal
    cells: tuple[Cell, ...]

    def part_amounts(self, quantities: Mapping[Part, Decimal]) -> dict[Part, Decimal]:
        """The unrounded charge of every part."""
        return {part: PRECISION.multiply(quantity, self.price(part)) for part, quantity in quantities.items()}

    def price(self, part: Part) -> Decimal:
        """The unit price of a part."""
        return next((cell.unit_price for cell in self.cells if cell.matches(part)), self.unit_price)

    def amount(self, quantity: Decimal) -> Decimal:
        """The charge of usage that no cell matches."""
        return PRECISION.multiply(quantity, self.unit_price)

    def explain(self, quantity: Decimal) -> str:
        """The quantity and how it is priced; the parts of the line have the amounts."""
        return f"{quantity.normalize():f} at {len(self.cells)} prices by kind, {self.unit_price} otherwise"
