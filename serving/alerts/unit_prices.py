"""Prices of a unit as they were last seen: a rise is known for sure, and needs no statistics to be told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from features.database import Connection

TABLE = """
    CREATE TABLE IF NOT EXISTS unit_prices (
        operation_id TEXT NOT NULL,
        micro_operation_type TEXT NOT NULL,
        resource TEXT NOT NULL,
        rate REAL NOT NULL,
        before REAL NOT NULL,
        since_ns INTEGER NOT NULL,
        PRIMARY KEY (operation_id, micro_operation_type, resource)
    ) WITHOUT ROWID
    """
TOLD_NS = 86_400_000_000_000
"""A rise is news for a day; then the new price is the usual one."""

Key = tuple[str, str, str]
"""(operation, micro-operation type, resource)."""

Row = tuple[str, str, str, float, float, int]
"""A row of `TABLE`."""

_KEEP = (
    "INSERT INTO unit_prices VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (operation_id, micro_operation_type, resource) "
    "DO UPDATE SET rate = excluded.rate, before = excluded.before, since_ns = excluded.since_ns"
)


def keep(connection: Connection, news: Sequence[Row]) -> None:
    """Write what `UnitPrices.see` found new."""
    connection.executemany(_KEEP, news)


class UnitPrices:
    """What each unit costs, what it cost before, and since when."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[float, float, int]] = {}

    def load(self, connection: Connection) -> None:
        """Read what was last seen."""
        rows = connection.execute(
            "SELECT operation_id, micro_operation_type, resource, rate, before, since_ns FROM unit_prices"
        ).fetchall()
        self._known = {(row[0], row[1], row[2]): (row[3], row[4], row[5]) for row in rows}

    def see(self, rates: Mapping[Key, float], now_ns: int) -> list[Row]:
        """Take prices in; returns the rows of those that are new, for `keep`."""
        news = []
        for key, rate in rates.items():
            known = self._known.get(key)
            if known is None or known[0] != rate:
                self._known[key] = (rate, known[0] if known else rate, now_ns)
                news.append((*key, *self._known[key]))
        return news

    def risen(self, now_ns: int) -> dict[Key, tuple[float, float]]:
        """(price, price before) of units whose price rose within the last day."""
        return {
            key: (rate, before)
            for key, (rate, before, since_ns) in self._known.items()
            if rate > before and since_ns <= now_ns < since_ns + TOLD_NS
        }
