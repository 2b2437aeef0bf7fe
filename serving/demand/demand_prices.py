"""Published demand prices: only ever added to, in force as published, read back by instant."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.factors.conditions import ONE
from serving.pricing.factors.demand import Demand, DemandState, Price, PriceHistory
from serving.pricing.plan import Plan
from serving.storage.tables import Tables

_TABLE = """
CREATE TABLE IF NOT EXISTS demand_prices (
    plan_id TEXT NOT NULL,
    rule TEXT NOT NULL,
    from_ns BIGINT NOT NULL,
    until_ns BIGINT NOT NULL,
    factor TEXT NOT NULL,
    smoothed TEXT NOT NULL,
    reason TEXT NOT NULL,
    published_ns BIGINT NOT NULL,
    PRIMARY KEY (plan_id, rule, from_ns)
)
"""
_COLUMNS = "from_ns, until_ns, factor, smoothed, reason, published_ns"


@dataclass(frozen=True, slots=True)
class PublishedPrice:
    """A price as it was published, with the smoothed load behind it."""

    price: Price
    smoothed: Decimal
    published_ns: int

    @property
    def version(self) -> str:
        """What estimates and lines name it by: the instant from which it is in force."""
        return str(self.price.from_ns)


class PriceStore:
    """Prices of all demand rules of all plans."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        tables.create(_TABLE)

    def publish(self, plan_id: str, rule: str, state: DemandState, price: Price, published_ns: int) -> bool:
        """Add a price; False where one was published for that time, which then stands."""
        values = (price.from_ns, price.until_ns, str(price.factor), str(state.load), price.reason, published_ns)
        changed = self._tables.write(
            f"INSERT INTO demand_prices (plan_id, rule, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
            "ON CONFLICT DO NOTHING",
            (plan_id, rule, *values),
        )
        return changed == 1

    def latest(self, plan_id: str, rule: str, limit: int = 1) -> list[PublishedPrice]:
        """The last published prices of a rule, the newest first."""
        query = f"SELECT {_COLUMNS} FROM demand_prices WHERE plan_id = ? AND rule = ? ORDER BY from_ns DESC LIMIT ?"  # noqa: S608
        return [_published(row) for row in self._tables.rows(query, (plan_id, rule, limit))]

    def histories(self, plan: Plan, start_ns: int, end_ns: int) -> dict[str, PriceHistory]:
        """The prices in force somewhere in [start_ns, end_ns), by the demand rules of a plan."""
        rules = {factor.id for charge in plan.charges for factor in charge.factors if isinstance(factor, Demand)}
        query = (
            f"SELECT {_COLUMNS} FROM demand_prices WHERE plan_id = ? AND rule = ? "  # noqa: S608
            "AND until_ns > ? AND from_ns < ? ORDER BY from_ns"
        )
        return {
            rule: PriceHistory(
                _published(row).price for row in self._tables.rows(query, (plan.id, rule, start_ns, end_ns))
            )
            for rule in sorted(rules)
        }

    def state(self, plan_id: str, demand: Demand) -> DemandState:
        """Where the rule's controller stands; at its target and the list price before the first price."""
        found = self.latest(plan_id, demand.id)
        return DemandState(found[0].smoothed, found[0].price.factor) if found else DemandState(demand.target, ONE)


def _published(row: tuple[object, ...]) -> PublishedPrice:
    from_ns, until_ns, factor, smoothed, reason, published_ns = row
    price = Price(int(str(from_ns)), int(str(until_ns)), Decimal(str(factor)), str(reason))
    return PublishedPrice(price, Decimal(str(smoothed)), int(str(published_ns)))
