"""Formula: the price is an expression over the quantities of several meters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.formula import Formula
from serving.pricing.line import Step, plain


@dataclass(frozen=True, slots=True)
class FormulaPrice:
    """What ``expression`` gives for the quantities of its meters, never below 0."""

    expression: Formula

    def input_amount(self, quantities: Mapping[str, Decimal]) -> Decimal:
        """The unrounded charge for quantities by meter."""
        return max(Decimal(0), self.expression.of(quantities))

    def input_steps(self, quantities: Mapping[str, Decimal]) -> tuple[Step, ...]:
        """The formula with its quantities."""
        used = ", ".join(f"{name} = {plain(quantities.get(name, Decimal(0)))}" for name in self.expression.names)
        return (Step(f"{self.expression.text} with {used}", self.input_amount(quantities)),)

    def amount(self, quantity: Decimal) -> Decimal:
        """The charge when every meter counts the same quantity."""
        return self.input_amount(dict.fromkeys(self.expression.names, quantity))

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """The formula with that quantity for every meter."""
        return self.input_steps(dict.fromkeys(self.expression.names, quantity))
