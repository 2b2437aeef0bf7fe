"""A charge half way through its steps: the lines so far, what they add up to, and how a step adds one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from serving.pricing.line import Line, Part, Step, summed
from serving.pricing.money import rounded, split

if TYPE_CHECKING:
    from serving.pricing.plan import Charge

_WORDS = {
    "overage": "overage beyond the commitment",
    "commitment": "true-up to the commitment",
    "minimum": "true-up to the minimum",
    "maximum": "discount to the maximum",
    "discount": "discount",
}


@dataclass(slots=True)
class Running:
    """Lines of one charge in the making; ``share`` is the part of the billing period that is rated.

    ``factor_weights`` and ``surcharges`` are those of `serving.pricing.metering.Metered`.
    """

    charge: Charge
    currency: str
    share: Decimal = Decimal(1)
    factor_weights: Mapping[Part, Decimal] = field(default_factory=dict)
    surcharges: Mapping[str, Mapping[Part, Decimal]] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    held: Decimal = Decimal(0)
    """What factors added that was too little for a line of its own; the next line has it."""

    @property
    def amount(self) -> Decimal:
        """The rounded sum so far."""
        return sum((line.amount for line in self.lines), Decimal(0))

    @property
    def precise(self) -> Decimal:
        """The unrounded sum so far."""
        return sum((line.precise_amount for line in self.lines), self.held)

    def line(
        self,
        kind: str,
        formula: str,
        precise: Decimal,
        weights: Mapping[Part, Decimal] | None = None,
        tag: str = "",
        about: str = "",
    ) -> None:
        """Add a line that brings the sum to the rounded precise sum; nothing when that changes nothing.

        Its parts follow ``weights``, or the parts that usage has so far.
        """
        amount = rounded(self.precise + precise, self.currency) - self.amount
        if amount == 0:
            self.held += precise
            return
        weights = weights if weights is not None else summed(self.lines)
        parts = dict(
            zip(weights, split(amount, [abs(weight) for weight in weights.values()], self.currency), strict=True)
        )
        steps = (Step(formula, precise), *((Step("carried from before", self.held),) if self.held else ()))
        described = f"{self.charge.description}: {about or _WORDS[kind]}"
        name = f"{self.charge.id}:{tag or kind}"
        total, self.held = precise + self.held, Decimal(0)
        self.lines.append(
            Line(name, described, kind, "", Decimal(0), total, amount, formula, parts, steps, self.charge.tax_code)
        )
