"""Tiers: spans of quantity, inclusive above, each with a unit price and a flat fee."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Tier:
    """Quantities above the tier before, up to and including ``up_to`` (None: open)."""

    up_to: Decimal | None
    unit_price: Decimal = Decimal(0)
    flat_fee: Decimal = Decimal(0)

    @property
    def label(self) -> str:
        """The tier by its bound."""
        return "above the last bound" if self.up_to is None else f"up to {self.up_to:f}"


@dataclass(frozen=True, slots=True)
class Tiered:
    """What every model of tiers is told; the first tier's flat fee is charged at zero usage unless the plan says no."""

    tiers: tuple[Tier, ...]
    charge_at_zero: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError for tiers that do not rise or are not open at the end."""
        check_tiers(self.tiers)


def check_tiers(tiers: tuple[Tier, ...]) -> None:
    """Raises ValueError unless bounds rise and only the last tier is open."""
    if not tiers or tiers[-1].up_to is not None:
        raise ValueError("the last tier must be open: up_to: null")
    bounds = [tier.up_to for tier in tiers[:-1]]
    if None in bounds:
        raise ValueError("only the last tier may be open (up_to: null)")
    previous = Decimal(0)
    for bound in bounds:
        if bound is not None and bound <= previous:
            raise ValueError(f"tier bounds must rise: {bound} does not exceed {previous}")
        previous = bound or previous


def portions(tiers: tuple[Tier, ...], quantity: Decimal) -> Iterator[tuple[Tier, Decimal]]:
    """The tiers that a quantity enters, each with the part of the quantity in it; the first one always."""
    lower = Decimal(0)
    for index, tier in enumerate(tiers):
        if index and quantity <= lower:
            return
        upper = quantity if tier.up_to is None else min(quantity, tier.up_to)
        yield tier, upper - lower
        if tier.up_to is None:
            return
        lower = tier.up_to
