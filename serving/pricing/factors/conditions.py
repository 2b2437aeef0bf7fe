"""What a bill depends on beside plan and usage: published prices, the customer's own maximum, and quotes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Protocol, Self

from serving.pricing.factors.demand import Demand, PriceHistory
from serving.pricing.factors.quote import Quote, Used

ZERO, ONE = Decimal(0), Decimal(1)
BOUNDS = "bounds"
"""The name under which the effect of floor, cap and the customer's own maximum is shown."""


class Factor(Protocol):
    """A factor that the plan itself fixes for every instant."""

    @property
    def id(self) -> str:
        """Its name in the plan."""
        ...

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

    def clip(self, factor: Decimal, maximum: Decimal | None) -> Decimal:
        """A factor kept between floor and the lower of cap and the customer's own maximum."""
        kept = max(factor, self.floor)
        for bound in (self.cap, maximum):
            kept = kept if bound is None else min(kept, bound)
        return kept


UNBOUNDED = FactorBounds()
"""No bounds but that a price is not negative."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Published prices by the id of their demand rule, the customer's own maximum, quotes, and what of them is used."""

    published: Mapping[str, PriceHistory] = field(default_factory=dict)
    maximum_factor: Decimal | None = None
    quotes: Sequence[Quote] = ()
    used: Used = field(default_factory=dict)

    def after(self, covered: Used) -> Self:
        """What holds for what comes next, once quotes have covered more."""
        return replace(
            self, used={key: self.used.get(key, ZERO) + covered.get(key, ZERO) for key in {*self.used, *covered}}
        )


LIST_PRICE = Conditions()
"""Nothing published, no maximum, no quotes."""


def surcharges_at(
    factors: Sequence[Factor | Demand], bounds: FactorBounds, conditions: Conditions, time_ns: int
) -> dict[str, Decimal]:
    """What each factor in turn adds to the list price at an instant, by its name; with 1 they add up to m.

    m = clip(product of factors, floor, min(cap, the customer's maximum)); what the bounds change is `BOUNDS`.
    """
    product, added = ONE, dict[str, Decimal]()
    for factor in factors:
        if isinstance(factor, Demand):
            history = conditions.published.get(factor.id)
            value = history.at(time_ns) if history is not None else ONE
        else:
            value = factor.at(time_ns)
        if value != 1:
            added[factor.id] = product * value - product
        product *= value
    kept = bounds.clip(product, conditions.maximum_factor)
    if kept != product:
        added[BOUNDS] = kept - product
    return added


def event_factor(
    factors: Sequence[Factor | Demand], bounds: FactorBounds, conditions: Conditions, time_ns: int
) -> Decimal:
    """The factor m of an event, and never above a quote in force."""
    combined = ONE + sum(surcharges_at(factors, bounds, conditions, time_ns).values(), Decimal(0))
    return min([combined, *(quote.factor for quote in conditions.quotes if quote.holds(time_ns))])
