"""Flat: the same amount whatever was used."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Flat:
    """A recurring fee, once a billing period."""

    price: Decimal

    def amount(self, quantity: Decimal) -> Decimal:  # noqa: ARG002 -- the contract of charge models
        """The fee."""
        return self.price

    def explain(self, quantity: Decimal) -> str:  # noqa: ARG002 -- the contract of charge models
        """The fee."""
        return f"flat {self.price}"
