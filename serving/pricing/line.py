"""One line of an invoice, the steps that it came about by, and whom it is owed to: operation and micro-operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.money import split

Part = tuple[str, str]
"""(operation, micro-operation type); two empty strings for what no usage caused, as fees and minimums."""

NO_USAGE: Part = ("", "")


@dataclass(frozen=True, slots=True)
class Step:
    """One term of a line, emitted by the calculation itself: its formula, and the unrounded amount that it adds."""

    formula: str
    amount: Decimal
    label: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice: ``amount`` rounded once from ``precise_amount``; parts add up to ``amount`` exactly.

    ``steps`` add up to ``precise_amount``. ``tax_code`` is what a tax system tells lines apart by.
    """

    id: str
    description: str
    kind: str
    meter: str
    quantity: Decimal
    precise_amount: Decimal
    amount: Decimal
    formula: str
    parts: Mapping[Part, Decimal]
    steps: tuple[Step, ...] = ()
    tax_code: str = ""


def text(steps: Iterable[Step]) -> str:
    """Steps as one formula that a customer can check by hand."""
    return " + ".join(step.formula for step in steps) or "0"


def plain(value: Decimal) -> str:
    """A number without exponent and without zeros at its end."""
    return f"{value.normalize():f}"


def summed(lines: Sequence[Line]) -> dict[Part, Decimal]:
    """What lines add up to, part by part."""
    sums: dict[Part, Decimal] = {}
    for line in lines:
        for part, amount in line.parts.items():
            sums[part] = sums.get(part, Decimal(0)) + amount
    return sums


def deduction(
    line_id: str, kind: str, about: str, off: Decimal, formula: str, parts: Mapping[Part, Decimal], currency: str
) -> Line:
    """A line that takes a rounded amount off an invoice, shared by the parts that owe something."""
    owing = {part: amount for part, amount in parts.items() if amount > 0}
    shares = dict(zip(owing, split(-off, list(owing.values()), currency), strict=True))
    return Line(line_id, about, kind, "", Decimal(0), -off, -off, formula, shares, (Step(formula, -off),))
