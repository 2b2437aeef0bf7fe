"""Totals of the records that are not kept one by one: detail is given up then, amounts never."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.execution import Execution

    Key = tuple[str, str, int, str]  # user, operation, type code, meter
    # (elapsed_ns, execution, type code, cpu_ns, memory, network, disk bytes, duration_ns, units, meter)
    Record = tuple[int, Execution, int, int, int, int, int, int, float, str]

AMOUNTS = 7
"""Amounts of a total: events, cpu_ns, memory, network and disk bytes, duration_ns, units."""


class Totals:
    """Totals of one thread; only that thread writes, and only upwards."""

    __slots__ = ("shipped", "totals")

    def __init__(self) -> None:
        self.totals: dict[Key, list[float]] = {}
        self.shipped: dict[Key, list[float]] = {}

    def add(self, record: Record) -> None:
        """Add a record."""
        _, execution, code, cpu_ns, memory, network, disk, duration_ns, units, meter = record
        key = (execution.user, execution.operation, code, meter)
        total = self.totals.get(key)
        if total is None:
            self.totals[key] = [1, cpu_ns, memory, network, disk, duration_ns, units]
            return
        if cpu_ns:
            total[1] += cpu_ns
        if memory:
            total[2] += memory
        if network:
            total[3] += network
        if disk:
            total[4] += disk
        total[5] += duration_ns
        if units:
            total[6] += units
        total[0] += 1

    def take(self) -> list[tuple[Key, list[float]]]:
        """What was added since the last call; called by the shipper, without a lock because totals only rise."""
        grown = []
        for key in list(self.totals):
            now = list(self.totals[key])
            before = self.shipped.get(key)
            difference = now if before is None else [a - b for a, b in zip(now, before, strict=True)]
            if any(difference):
                self.shipped[key] = now
                grown.append((key, difference))
        return grown
