"""A charge half way through its steps: the lines so far, what they add up to, and how a step adds one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from serving.pricing.line import Line, Part, summed
from serving.pricing.money import rounded, split

if TYPE_CHECKING:
    from serving.pricing.plan import Charge

_WORDS = {
    "factor": "time, demand and service level",
    "overage": "overage beyond the commitment",
    "commitment": "true-up to the commitment",
    "minimum": "true-up to the minimum",
    "maximum": "discount to the maximum",
    "discount": "discount",
}


@dataclass(slots=True)
class Running:
    """Lines of one charge in the making; ``share`` is the part of the billing period that is rated.

    ``factor_weights`` and ``surcharges`` are those of `serving.pricing.rate.Metered`.
    """

    charge: Charge
    currency: str
    share: Decimal = Decimal(1)
    factor_weights: Mapping[Part, Decimal] = field(default_factory=dict)
    surcharges: Mapping[Part, Decimal] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)

    @property
    def amount(self) -> Decimal:
        """The rounded sum so far."""
        return sum((line.amount for line in self.lines), Decimal(0))

    @property
    def precise(self) -> Decimal:
        """The unrounded sum so far."""
        return sum((line.precise_amount for line in self.lines), Decimal(0))

    def line(
        self, kind: str, formula: str, precise: Decimal, weights: Mapping[Part, Decimal] | None = None, tag: str = ""
    ) -> Line | None:
        """A line that brings the sum to the rounded precise sum; None when that changes nothing.

        Its parts follow ``weights``, or the parts that usage has so far.
        """
        amount = rounded(self.precise + precise, self.currency) - self.amount
        if amount == 0:
            return None
        weights = weights if weights is not None else summed(self.lines)
        parts = dict(
            zip(weights, split(amount, [abs(weight) for weight in weights.values()], self.currency), strict=True)
        )
        about = f"{self.charge.description}: {_WORDS[kind]}"
        return Line(f"{self.charge.id}:{tag or kind}", about, kind, "", Decimal(0), precise, amount, formula, parts)
