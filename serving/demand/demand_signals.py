"""The load of the whole system: what the engine measured, or the vendor posted, a value an interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import polars as pl

from serving.pricing.factors.demand import Demand
from serving.pricing.money import PRECISION
from serving.storage.history import History
from serving.storage.tables import Tables

NANOSECONDS = 1_000_000_000
MEASURED = ("requests", "cpu", "queue")
"""Requests (executions) a second, CPU cycles a second, and batches that wait to be taken in."""
SYSTEM = "system"
"""The highest of the measured signals, each over its own highest value of the last `MEMORY_S` seconds."""
MEMORY_S = 28 * 86_400
QUEUE_FULL = Decimal(512)
"""Batches waiting that count as a load of 1: one step of the engine."""
_TABLE = """
CREATE TABLE IF NOT EXISTS signals (
    name TEXT NOT NULL,
    at_ns BIGINT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (name, at_ns)
)
"""


class Signals:
    """Values of signals over time, kept; those measured here and those posted are told apart by name only."""

    def __init__(self, tables: Tables, history: History, lag: Callable[[], int], windows_s: Sequence[int]) -> None:
        self._tables, self._history, self._lag, self._windows_s = tables, history, lag, tuple(windows_s)
        tables.create(_TABLE)

    def post(self, name: str, at_ns: int, value: Decimal) -> None:
        """Keep a value; raises ValueError for a measured signal, and for values that are not finite and >= 0."""
        if name in (*MEASURED, SYSTEM):
            raise ValueError(f"signal {name!r} is measured here; post under a name of your own")
        if not value.is_finite() or value < 0:
            raise ValueError(f"signal {name!r} is {value}; it must be finite and >= 0")
        self._keep(name, at_ns, value)

    def load(self, demand: Demand, start_ns: int, end_ns: int) -> tuple[Decimal | None, int]:
        """The load of a rule over [start_ns, end_ns) and its age in seconds at the end; None where nothing is known."""
        if demand.signal in (*MEASURED, SYSTEM):
            values = self._measure(start_ns, end_ns)
            value = self._system(values, end_ns) if demand.signal == SYSTEM else values[demand.signal]
            return PRECISION.divide(value, demand.capacity), 0
        rows = self._tables.rows(
            "SELECT at_ns, value FROM signals WHERE name = ? AND at_ns <= ? ORDER BY at_ns DESC LIMIT 1",
            (demand.signal, end_ns),
        )
        if not rows:
            return None, 0
        return PRECISION.divide(Decimal(rows[0][1]), demand.capacity), (end_ns - int(rows[0][0])) // NANOSECONDS

    def values(self, name: str, start_ns: int, end_ns: int) -> list[tuple[int, float]]:
        """(instant, value) of a signal in (start, end], oldest first, before any capacity."""
        rows = self._tables.rows(
            "SELECT at_ns, value FROM signals WHERE name = ? AND at_ns > ? AND at_ns <= ? ORDER BY at_ns",
            (name, start_ns, end_ns),
        )
        return [(int(at), float(value)) for at, value in rows]

    def _measure(self, start_ns: int, end_ns: int) -> dict[str, Decimal]:
        """The measured signals of a span, kept for the peaks to come."""
        seconds = Decimal(end_ns - start_ns) / NANOSECONDS
        length = (end_ns - start_ns) // NANOSECONDS
        window_s = max((one for one in self._windows_s if length % one == 0), default=min(self._windows_s))
        totals = self._history.totals(window_s, start_ns, end_ns)
        executions = totals.filter(pl.col("meter") == "executions")["units"].sum()
        values = {
            "requests": PRECISION.divide(Decimal(f"{executions:.6f}"), seconds),
            "cpu": PRECISION.divide(Decimal(int(totals["cpu_cycles"].sum())), seconds),
            "queue": Decimal(self._lag()),
        }
        for name, value in values.items():
            self._keep(name, end_ns, value.quantize(Decimal("0.000001")))
        return values

    def _system(self, values: dict[str, Decimal], end_ns: int) -> Decimal:
        highest = PRECISION.divide(values["queue"], QUEUE_FULL)
        for name in ("requests", "cpu"):
            rows = self._tables.rows(
                "SELECT value FROM signals WHERE name = ? AND at_ns > ? AND at_ns <= ?",
                (name, end_ns - MEMORY_S * NANOSECONDS, end_ns),
            )
            peak = max((Decimal(value) for (value,) in rows), default=Decimal(0))
            if peak:
                highest = max(highest, PRECISION.divide(values[name], peak))
        self._keep(SYSTEM, end_ns, highest.quantize(Decimal("0.000001")))
        return highest

    def _keep(self, name: str, at_ns: int, value: Decimal) -> None:
        self._tables.write(
            "INSERT INTO signals (name, at_ns, value) VALUES (?, ?, ?) "
            "ON CONFLICT (name, at_ns) DO UPDATE SET value = excluded.value",
            (name, at_ns, str(value)),
        )
