"""Flat: the same amount whatever was used."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.line import Step

DUE = ("arrears", "advance")
PRORATIONS = ("second", "day")


@dataclass(frozen=True, slots=True)
class Flat:
    """A recurring fee, once a billing period, due at its end (``arrears``) or at its start (``advance``).

    A part of a period owes its share by time (``prorate: second``, exact to the nanosecond) or by the UTC days that
    begin in it (``day``). A fee paid in advance is given back for what is left of the period when the plan changes.
    """

    price: Decimal
    due: str = "arrears"
    prorate: str = "second"

    def __post_init__(self) -> None:
        """Raises ValueError for words that are not in `DUE` and `PRORATIONS`."""
        if self.due not in DUE or self.prorate not in PRORATIONS:
            raise ValueError(f"due {self.due!r}, prorate {self.prorate!r}; allowed are {DUE} and {PRORATIONS}")

    def amount(self, quantity: Decimal) -> Decimal:  # noqa: ARG002 -- the contract of charge models
        """The fee."""
        return self.price

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:  # noqa: ARG002 -- the contract of charge models
        """The fee."""
        return (Step(f"flat {self.price}" + (" in advance" if self.due == "advance" else ""), self.price),)
