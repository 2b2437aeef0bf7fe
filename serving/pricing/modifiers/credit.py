"""Prepaid credits: taken off the invoice after every discount, by priority, never more than is owed or left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.line import Line, deduction, summed
from serving.pricing.money import rounded


@dataclass(frozen=True, slots=True)
class Credit:
    """What a customer has paid in advance; the lowest priority is used first, then what expires first."""

    id: str
    balance: Decimal
    priority: int = 0
    expires_ns: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a negative balance."""
        if self.balance < 0:
            raise ValueError(f"credit {self.id!r} has a balance of {self.balance}; it must not be negative")


def credit_lines(credits: Sequence[Credit], lines: Sequence[Line], currency: str, at_ns: int) -> list[Line]:
    """A negative line for every credit used; those expired before ``at_ns``, the period's end, are left alone."""
    valid = [credit for credit in credits if credit.expires_ns is None or credit.expires_ns >= at_ns]
    order = sorted(valid, key=lambda c: (c.priority, c.expires_ns is None, c.expires_ns or 0, c.id))
    added: list[Line] = []
    for credit in order:
        parts = summed([*lines, *added])
        off = rounded(min(credit.balance, sum(parts.values(), Decimal(0))), currency)
        if off > credit.balance:
            off = Decimal(0)
        if off > 0:
            formula = f"{off} of {credit.balance}"
            about = f"Prepaid credit {credit.id}"
            added.append(deduction(f"credit:{credit.id}", "credit", about, off, formula, parts, currency))
    return added
