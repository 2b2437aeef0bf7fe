"""Demand: a smoothed load becomes a factor in small steps, published ahead and never beyond its bounds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from serving.pricing.money import PRECISION

NANOSECONDS = 1_000_000_000
PLACES = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Demand:
    """The published rules: see `next_price` for the formula. Times in seconds.

    The load is the signal over ``capacity``, and ``target`` the load at which the list price holds.
    """

    id: str
    signal: str
    target: Decimal
    elasticity: Decimal
    floor: Decimal
    cap: Decimal
    half_life_s: int
    max_step: Decimal
    interval_s: int
    lead_s: int
    stale_after_s: int
    capacity: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        """Raises ValueError for bounds that do not hold the list price, or spans and targets that are not positive."""
        if not 0 < self.floor <= 1 <= self.cap:
            raise ValueError(f"floor {self.floor} and cap {self.cap} must enclose the list price 1")
        positive = (self.target, self.max_step, self.interval_s, self.half_life_s, self.capacity)
        if any(value <= 0 for value in positive) or self.lead_s < 0:
            raise ValueError("target, max_step, interval_s, half_life_s and capacity must be above 0, lead_s not below")


@dataclass(frozen=True, slots=True)
class DemandState:
    """What the next price needs of the past."""

    load: Decimal
    factor: Decimal = Decimal(1)


@dataclass(frozen=True, slots=True)
class Price:
    """A published factor, in force in [from_ns, until_ns), with the reason in words."""

    from_ns: int
    until_ns: int
    factor: Decimal
    reason: str


def next_price(
    demand: Demand, state: DemandState, load: Decimal | None, at_ns: int, age_s: int = 0
) -> tuple[DemandState, Price]:
    """The price to publish at an instant from the load measured ``age_s`` ago (None: no measurement).

    L' = L + a (x - L) with a = 1 - 2^(-interval / half-life); r = 1 + elasticity (L' - target) / target, or 1 when
    the signal is stale; factor = clip(clip(r, last - max_step, last + max_step), floor, cap), to 4 decimals.
    """
    stale = load is None or age_s > demand.stale_after_s
    if stale or load is None:
        smooth, raw = state.load, Decimal(1)
    else:
        halvings = PRECISION.divide(Decimal(demand.interval_s), Decimal(demand.half_life_s))
        weight = 1 - PRECISION.power(Decimal(2), -halvings)
        smooth = PRECISION.add(state.load, PRECISION.multiply(weight, load - state.load))
        over = PRECISION.divide(smooth - demand.target, demand.target)
        raw = 1 + PRECISION.multiply(demand.elasticity, over)
    stepped = min(max(raw, state.factor - demand.max_step), state.factor + demand.max_step)
    factor = min(max(stepped, demand.floor), demand.cap).quantize(PLACES, ROUND_HALF_UP)
    start = at_ns + demand.lead_s * NANOSECONDS
    why = "the signal is stale" if stale else f"smoothed load {smooth:.4f} at a target of {demand.target}"
    price = Price(start, start + demand.interval_s * NANOSECONDS, factor, f"{why}: asks {raw:.4f}, gives {factor}")
    return DemandState(smooth, factor), price


class PriceHistory:
    """Published prices of one demand rule, looked up by instant; the list price (1) where none is in force."""

    def __init__(self, prices: Iterable[Price]) -> None:
        """Later prices win where two overlap."""
        self._prices = sorted(prices, key=lambda price: price.from_ns)
        self._starts = [price.from_ns for price in self._prices]

    def at(self, time_ns: int) -> Decimal:
        """The factor in force at an instant, Unix nanoseconds."""
        place = bisect_right(self._starts, time_ns) - 1
        if place < 0 or time_ns >= self._prices[place].until_ns:
            return Decimal(1)
        return self._prices[place].factor
