"""Publishes the next demand price of every plan, interval by interval, ahead of the time it is in force."""

from __future__ import annotations

from collections.abc import Mapping

from serving.demand.demand_prices import PriceStore
from serving.demand.demand_signals import Signals
from serving.pricing.factors.demand import Demand, next_price
from serving.pricing.plan import Plan
from serving.recurring import Recurring

NANOSECONDS = 1_000_000_000


class DemandPublisher(Recurring):
    """A thread that measures the load at the end of every interval and publishes a price for the one after the lead.

    Prices are never set for a time that has passed: what was missed while nobody published costs the list price, and
    the controller steps back towards it.
    """

    def __init__(self, plans: Mapping[str, Plan], prices: PriceStore, signals: Signals, every_s: float = 1.0) -> None:
        super().__init__("metercast-demand", every_s, "demand prices could not be published")
        self._plans, self._prices, self._signals = plans, prices, signals

    def tick(self, now_ns: int) -> int:
        """Publish what is due at a moment; returns how many prices were published."""
        published = 0
        for plan in list(self._plans.values()):
            for demand in demand_rules(plan):
                published += self._publish(plan.id, demand, now_ns)
        return published

    def _publish(self, plan_id: str, demand: Demand, now_ns: int) -> int:
        interval_ns = demand.interval_s * NANOSECONDS
        end_ns = now_ns - now_ns % interval_ns
        due_ns = end_ns + demand.lead_s * NANOSECONDS
        known = self._prices.latest(plan_id, demand.id)
        if known and known[0].price.from_ns >= due_ns:
            return 0
        state = self._prices.state(plan_id, demand)
        missed = (due_ns - known[0].price.from_ns) // interval_ns - 1 if known else 0
        for _ in range(min(missed, int(demand.cap / demand.max_step) + 1)):
            state, _price = next_price(demand, state, None, end_ns)
        load, age_s = self._signals.load(demand, end_ns - interval_ns, end_ns)
        state, price = next_price(demand, state, load, end_ns, age_s)
        return int(self._prices.publish(plan_id, demand.id, state, price, now_ns))


def demand_rules(plan: Plan) -> list[Demand]:
    """The demand rules that charges of a plan use, in the order of their names."""
    rules = {factor.id: factor for charge in plan.charges for factor in charge.factors if isinstance(factor, Demand)}
    return [rules[name] for name in sorted(rules)]
