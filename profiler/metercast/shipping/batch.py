"""Builds batches: records of the ring become events of the wire form under (producer, epoch, sequence)."""

from __future__ import annotations

import gzip
import json

from metercast import clock
from metercast.event import MICRO_OPERATION_TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from metercast.ring import Record

CUSTOM_KEY = tuple[str, str, int, str]


class Converter:
    """Turns records into events; CPU time becomes cycles at the nominal frequency."""

    __slots__ = ("hz", "source")

    def __init__(self, source: str = clock.SOURCE_THREAD_CLOCK) -> None:
        self.hz = clock.nominal_hz()
        self.source = source

    def cycles(self, cpu_ns: float) -> int:
        """CPU time in cycles of the nominal frequency."""
        return int(cpu_ns) * self.hz // 1_000_000_000

    def events(self, records: Iterable[Record]) -> list[dict[str, Any]]:
        """One event a record, times moved from the elapsed clock to Unix time."""
        offset_ns, source = clock.epoch_offset_ns(), self.source
        return [
            _event(
                (ended_ns + offset_ns) / 1e9,
                (execution.user, execution.operation, code, meter),
                (self.cycles(cpu_ns), memory, network, disk, duration_ns / 1e6, units),
                (execution.id, execution.parent_id),
                source,
            )
            for ended_ns, execution, code, cpu_ns, memory, network, disk, duration_ns, units, meter in records
        ]

    def event(
        self, timestamp_s: float, key: CUSTOM_KEY, amounts: tuple[int, int, int, int, float, float]
    ) -> dict[str, Any]:
        """One event of (CPU ns, memory, network, disk bytes, duration ms, units) that belongs to no execution."""
        return _event(timestamp_s, key, (self.cycles(amounts[0]), *amounts[1:]), (0, 0), self.source)

    def totals(self, grown: Iterable[tuple[CUSTOM_KEY, list[float]]]) -> list[dict[str, Any]]:
        """One event per (user, operation, type, meter) for records whose detail was dropped; ``executionID`` is 0."""
        now_s = (clock.elapsed_ns() + clock.epoch_offset_ns()) / 1e9
        events = []
        for key, (count, cpu_ns, memory, network, disk, duration_ns, units) in grown:
            amounts = (self.cycles(cpu_ns), int(memory), int(network), int(disk), duration_ns / 1e6, float(units))
            events.append(_event(now_s, key, amounts, (0, 0), f"{clock.SOURCE_AGGREGATE} of {int(count)}"))
        return events


def _event(
    timestamp_s: float,
    key: CUSTOM_KEY,
    amounts: tuple[int, int, int, int, float, float],
    executions: tuple[int, int],
    source: str,
) -> dict[str, Any]:
    user, operation, code, meter = key
    cycles, memory, network, disk, duration_ms, units = amounts
    return {
        "timestamp": timestamp_s,
        "operationID": operation,
        "microOperationType": MICRO_OPERATION_TYPES[code],
        "resourceUsage": {
            "cpuCycles": cycles,
            "memoryBytes": memory,
            "networkBytes": network,
            "diskBytes": disk,
            "executionTimeMs": duration_ms,
        },
        "userID": user,
        "executionID": executions[0],
        "parentExecutionID": executions[1],
        "units": units,
        "meter": meter,
        "source": source,
    }


def encode(producer: str, epoch: int, sequence: int, events: list[dict[str, Any]]) -> bytes:
    """The body of a batch, gzip-compressed."""
    batch = {"producer": producer, "epoch": epoch, "sequence": sequence, "events": events}
    return gzip.compress(json.dumps(batch, separators=(",", ":")).encode(), compresslevel=1, mtime=0)
