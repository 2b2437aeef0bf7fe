"""Totals of this process by operation and micro-operation, and the table a local run prints from them."""

from __future__ import annotations

from metercast.event import MICRO_OPERATION_TYPES, RESOURCE_FIELDS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from metercast.shipping.batch import Row

# Default price sheet, only for ranking a local run: US dollars per unit, of the order of public cloud list prices.
PRICES_USD = {
    "cpuCycles": 0.05 / 3600 / 2.6e9,
    "memoryBytes": 0.0,
    "networkBytes": 0.09 / 2**30,
    "diskBytes": 0.01 / 2**30,
}


class Ledger:
    """Adds events up; small, because there are few operations."""

    def __init__(self) -> None:
        self.totals: dict[tuple[str, str], dict[str, float]] = {}

    def add(self, rows: list[Row]) -> None:
        """Add rows to the totals of their (operation, micro-operation type)."""
        for row in rows:
            total = self.totals.setdefault(
                (row[2], MICRO_OPERATION_TYPES[row[3]]),
                {"events": 0, "cpuCycles": 0, "memoryBytes": 0, "networkBytes": 0, "diskBytes": 0}
                | {"executionTimeMs": 0.0, "units": 0.0},
            )
            total["events"] += 1
            total["units"] += row[10]
            for name, value in zip(RESOURCE_FIELDS, row[5:10], strict=True):
                total[name] += value

    def dearest(self, limit: int = 10) -> list[dict[str, Any]]:
        """Operations by their price under the default sheet, each with its micro-operations, dearest first."""
        operations: dict[str, dict[str, Any]] = {}
        for (name, kind), total in self.totals.items():
            price = sum(total[resource] * unit_price for resource, unit_price in PRICES_USD.items())
            row = operations.setdefault(name, {"operation": name, "price_usd": 0.0, "micro_operations": []})
            row["price_usd"] += price
            row["micro_operations"].append({"type": kind, "price_usd": price, **total})
        for row in operations.values():
            row["micro_operations"].sort(key=lambda part: (-part["price_usd"], -part["executionTimeMs"]))
        return sorted(operations.values(), key=lambda row: -row["price_usd"])[:limit]


def table(rows: list[dict[str, Any]]) -> str:
    """The dearest operations as text: one line an operation, one line each of its micro-operations."""
    titles = ("events", 9), ("Mcycles", 11), ("network", 11), ("disk", 11), ("time", 11), ("price", 12)
    head = f"{'operation / micro-operation':<34}" + "".join(f"{title:>{width}}" for title, width in titles)
    lines = [head, "-" * len(head)]
    for row in rows:
        parts = row["micro_operations"]
        whole = {name: sum(part[name] for part in parts) for name in parts[0] if name != "type"}
        lines.append(_line(row["operation"][:33], whole))
        lines.extend(_line("  " + part["type"], part) for part in parts)
    return "\n".join(lines)


def _line(name: str, total: dict[str, Any]) -> str:
    return (
        f"{name:<34}{int(total['events']):>9,}{total['cpuCycles'] / 1e6:>11,.1f}{size_text(total['networkBytes']):>11}"
        f"{size_text(total['diskBytes']):>11}{total['executionTimeMs'] / 1e3:>9,.3f} s"
        f"{total['price_usd'] * 1e6:>7,.1f} uUSD"
    )


def size_text(size_bytes: float) -> str:
    """Bytes for people, in decimal units."""
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:,.0f} {unit}" if unit == "B" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} GB"
