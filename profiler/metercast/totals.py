"""Totals of the records that are not kept one by one: detail is given up then, amounts never."""

from __future__ import annotations

from metercast.event import MICRO_OPERATION_TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.execution import Charge, Execution

    Key = tuple[str, str, int, str]  # user, operation, type code, meter
    # (elapsed_ns, execution, type code, cpu_ns, memory, network, disk bytes, duration_ns, units, meter)
    Record = tuple[int, Execution, int, int, int, int, int, int, float, str]

EXECUTIONS = "executions"
"""The meter of runs: the last CPU record of each carries one unit of it."""
_CPU, _WAIT = MICRO_OPERATION_TYPES.index("CPU_INSTRUCTION"), MICRO_OPERATION_TYPES.index("WAIT")

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

    def add_run(self, charge: Charge) -> None:
        """Add what a run that ends has used and not recorded, as its records would."""
        user, operation, totals = charge.execution.user, charge.execution.operation, self.totals
        run = totals.get((user, operation, _CPU, EXECUTIONS))
        if run is None:
            run = totals[user, operation, _CPU, EXECUTIONS] = [0] * AMOUNTS
        cpu_ns, wait_ns = charge.cpu_ns, charge.wait_ns
        charge.cpu_ns = charge.wait_ns = 0
        run[1] += cpu_ns
        run[5] += cpu_ns
        run[6] += 1
        run[0] += 1
        if wait_ns:
            wait = totals.get((user, operation, _WAIT, ""))
            if wait is None:
                wait = totals[user, operation, _WAIT, ""] = [0] * AMOUNTS
            wait[5] += wait_ns
            wait[0] += 1
        calls = charge.calls
        for code in calls:
            call_ns, memory, network, disk = calls[code]
            total = totals.get((user, operation, code, ""))
            if total is None:
                total = totals[user, operation, code, ""] = [0] * AMOUNTS
            total[1] += call_ns
            total[2] += memory
            total[3] += network
            total[4] += disk
            total[5] += call_ns
            total[0] += 1
        if calls:
            charge.calls = {}

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
