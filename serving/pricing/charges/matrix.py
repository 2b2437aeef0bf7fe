"""Matrix: the unit price depends on the operation, the micro-operation type and other dimensions, as the region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from serving.pricing.line import Part, Step, plain
from serving.pricing.money import PRECISION


@dataclass(frozen=True, slots=True)
class Cell:
    """A price for usage of this operation, micro-operation type and dimensions; what is empty matches any."""

    unit_price: Decimal
    operation: str = ""
    micro_operation_type: str = ""
    dimensions: Mapping[str, str] = field(default_factory=dict)

    def matches(self, part: Part, dimensions: Mapping[str, str]) -> bool:
        """Whether the cell prices usage of this kind."""
        return (
            self.operation in ("", part[0])
            and self.micro_operation_type in ("", part[1])
            and all(dimensions.get(name) == value for name, value in self.dimensions.items())
        )

    @property
    def label(self) -> str:
        """What the cell is for."""
        named = (self.operation, self.micro_operation_type, *(f"{k}={v}" for k, v in self.dimensions.items()))
        return " ".join(filter(None, named)) or "any"


@dataclass(frozen=True, slots=True)
class Matrix:
    """The first cell that matches prices the usage; ``unit_price`` prices what no cell does."""

    unit_price: Decimal
    cells: tuple[Cell, ...]

    def cell(self, part: Part, dimensions: Mapping[str, str]) -> Cell:
        """The cell that prices usage of a kind."""
        found = next((cell for cell in self.cells if cell.matches(part, dimensions)), None)
        return found if found is not None else Cell(self.unit_price)

    def cell_steps(self, quantities: Mapping[tuple[str, Decimal], Decimal]) -> tuple[Step, ...]:
        """One product a cell that was used, by (label, unit price)."""
        return tuple(
            Step(f"{plain(quantity)} x {price}", PRECISION.multiply(quantity, price), label)
            for (label, price), quantity in sorted(quantities.items())
        )

    def amount(self, quantity: Decimal) -> Decimal:
        """The charge of usage that no cell matches."""
        return PRECISION.multiply(quantity, self.unit_price)

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """The product of usage that no cell matches."""
        return (Step(f"{plain(quantity)} x {self.unit_price}", self.amount(quantity)),)
