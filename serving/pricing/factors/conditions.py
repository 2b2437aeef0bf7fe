"""What a bill depends on beside plan and usage: published prices, the customer's own maximum, and quotes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from serving.pricing.factors.demand import Demand, PriceHistory


class Factor(Protocol):
    """A factor that the plan itself fixes for every instant."""

    def at(self, time_ns: int) -> Decimal:
        """The factor in force at an instant, Unix nanoseconds."""
        ...


@dataclass(frozen=True, slots=True)
class FactorBounds:
    """Between what the combined factor of an event is kept."""

    floor: Decimal = Decimal(0)
    cap: Decimal | None = None

    def __post_init__(self) -> None:
        """Raises ValueError unless 0 <= floor <= cap."""
        if self.floor < 0 or (self.cap is not None and self.cap < self.floor):
            raise ValueError(f"floor {self.floor} and cap {self.cap}; floor must be >= 0 and not above the cap")


UNBOUNDED = FactorBounds()
"""No bounds but that a price is not negative."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A promise that events in [from_ns, until_ns) cost at most ``factor`` times the list price."""

    id: str
    from_ns: int
    until_ns: int
    factor: Decimal


@dataclass(frozen=True, slots=True)
class Conditions:
    """Published prices by the id of their demand rule, the customer's own maximum, and quotes in force."""

    published: Mapping[str, PriceHistory] = field(default_factory=dict)
    maximum_factor: Decimal | None = None
    quotes: Sequence[Quote] = ()


LIST_PRICE = Conditions()
"""Nothing published, no maximum, no quotes."""


def event_factor(
    factors: Sequence[Factor | Demand], bounds: FactorBounds, conditions: Conditions, time_ns: int
) -> Decimal:
    """m = clip(product of factors, floor, min(cap, the customer's maximum)), and never above a quote in force."""
    product = Decimal(1)
    for factor in factors:
        if isinstance(factor, Demand):
            history = conditions.published.get(factor.id)
            product *= history.at(time_ns) if history is not None else Decimal(1)
        else:
            product *= factor.at(time_ns)
    product = max(product, bounds.floor)
    for bound in (bounds.cap, conditions.maximum_factor):
        product = product if bound is None else min(product, bound)
    quoted = [quote.factor for quote in conditions.quotes if quote.from_ns <= time_ns < quote.until_ns]
    return min([product, *quoted])
