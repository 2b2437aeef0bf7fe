"""Builds batches: records of the ring become rows, and rows the events of the wire form.

A row is a tuple (timestamp in Unix ns, user, operation, type code, meter, CPU cycles, memory, network and disk bytes,
duration in ms, units, execution number, parent's number, source). With detail "execution" the records of one execution,
type and meter in one round become one row: sums stay exact, and a loop of a thousand writes costs one event. With a
journal, which counts records, each record is a row.
"""

from __future__ import annotations

import gzip
import json
from functools import lru_cache

from metercast import clock
from metercast.event import MICRO_OPERATION_TYPES
from metercast.native import compiled
from metercast.runtime import engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from metercast.engine import Engine
    from metercast.totals import Key, Record

    Row = tuple[int, str, str, int, str, int, int, int, int, float, float, int, int, str]

PER_EXECUTION, PER_CALL = "execution", "call"
_compiled_events = compiled(engine, "json_events")
GZIP_MAGIC = b"\x1f\x8b"


class Converter:
    """Turns records into rows; CPU time becomes cycles at the nominal frequency."""

    __slots__ = ("detail", "folds", "hz", "source")

    def __init__(
        self, detail: str = PER_EXECUTION, source: str = clock.SOURCE_THREAD_CLOCK, folds: bool = True
    ) -> None:
        self.hz = clock.nominal_hz()
        self.detail = detail
        self.folds = folds and detail == PER_EXECUTION
        self.source = source

    def cycles(self, cpu_ns: float) -> int:
        """CPU time in cycles of the nominal frequency."""
        return int(cpu_ns) * self.hz // 1_000_000_000

    def take(self, engine: Engine, limit: int) -> tuple[int, list[Row]]:
        """Take records off the engine; (how many, their rows). The compiled engine makes rows itself."""
        if hasattr(engine, "take_rows"):
            offset_ns = clock.epoch_offset_ns()
            taken: tuple[int, list[Row]] = engine.take_rows(limit, offset_ns, self.hz, self.source, self.folds)
            return taken
        records = engine.take(limit)
        return len(records), self.rows(records)

    def rows(self, records: list[Record]) -> list[Row]:
        """The rows of some records, times moved from the elapsed clock to Unix time."""
        if self.folds:
            records = _fold(records)
        offset_ns, hz, source = clock.epoch_offset_ns(), self.hz, self.source
        return [
            (
                record[0] + offset_ns,
                record[1].user,
                record[1].operation,
                record[2],
                record[9],
                record[3] * hz // 1_000_000_000,
                record[4],
                record[5],
                record[6],
                record[7] / 1e6,
                record[8],
                record[1].id,
                record[1].parent_id,
                source,
            )
            for record in records
        ]

    def totals(self, grown: Iterable[tuple[Key, list[float]]]) -> list[Row]:
        """One row per (user, operation, type, meter) for records whose detail was dropped; its execution is 0."""
        now_ns = clock.elapsed_ns() + clock.epoch_offset_ns()
        return [
            self.row(
                now_ns,
                key,
                (cpu_ns, int(memory), int(network), int(disk), duration_ns / 1e6, float(units)),
                f"{self.source} aggregate of {int(count)}",
            )
            for key, (count, cpu_ns, memory, network, disk, duration_ns, units) in grown
        ]

    def row(
        self, timestamp_ns: int, key: Key, amounts: tuple[float, int, int, int, float, float], source: str = ""
    ) -> Row:
        """A row of (CPU ns, memory, network, disk bytes, duration ms, units) that belongs to no execution."""
        return (timestamp_ns, *key, self.cycles(amounts[0]), *amounts[1:], 0, 0, source or self.source)


def _fold(records: list[Record]) -> list[Record]:
    """Add up the records of one execution, type and meter; the last one's time stands for all."""
    sums: dict[tuple[int, int, str], Record] = {}
    for record in records:
        key = (record[1].id, record[2], record[9])
        known = sums.get(key)
        if known is None:
            sums[key] = record
        else:
            now_ns, execution, code, cpu, memory, network, disk, duration, units, meter = record
            sums[key] = (
                now_ns,
                execution,
                code,
                known[3] + cpu,
                known[4] + memory,
                known[5] + network,
                known[6] + disk,
                known[7] + duration,
                known[8] + units,
                meter,
            )
    return list(sums.values())


_quoted = lru_cache(4096)(json.dumps)
_LONGEST_NAME = 512


def wire_name(text: str, default: str = "") -> str:
    """A name as servers take it: at most 512 characters, valid Unicode, no '|', not empty where there is a default."""
    text = text[:_LONGEST_NAME].replace("|", "/") or default
    return text if text.isascii() else text.encode(errors="replace").decode()


@lru_cache(4096)
def _names(user: str, operation: str, code: int, meter: str) -> tuple[str, str]:
    user, operation, meter = wire_name(user, "unknown"), wire_name(operation, "unnamed"), wire_name(meter)
    return (
        f',"operationID":{json.dumps(operation)},"microOperationType":"{MICRO_OPERATION_TYPES[code]}"'
        ',"resourceUsage":{"cpuCycles":',
        f'}},"userID":{json.dumps(user)},"meter":{json.dumps(meter)},"executionID":',
    )


def encode(producer: str, epoch: int, sequence: int, rows: list[Row]) -> bytes:
    """A batch as JSON, packed."""
    head = f'{{"producer":{json.dumps(producer)},"epoch":{epoch},"sequence":{sequence},"events":['
    events = json_events(rows) if _compiled_events is None else _compiled_events(rows, _names, _quoted)
    return compress(b"".join((head.encode(), events, b"]}")))


def json_events(rows: list[Row]) -> bytes:
    """The events of a batch; text is put together directly, which costs a third of `json.dumps`."""
    events = []
    for time_ns, user, operation, code, meter, cycles, memory, network, disk, ms, units, number, parent, source in rows:
        head, tail = _names(user, operation, code, meter)
        events.append(
            f'{{"timestamp":{time_ns / 1e9!r}{head}{cycles},"memoryBytes":{memory},"networkBytes":{network},'
            f'"diskBytes":{disk},"executionTimeMs":{ms!r}{tail}{number},"parentExecutionID":{parent},'
            f'"units":{units!r},"source":{_quoted(source)}}}'
        )
    return ",".join(events).encode()


def compress(body: bytes) -> bytes:
    """The gzip form of a body, which may have it already."""
    return body if body.startswith(GZIP_MAGIC) else gzip.compress(body, compresslevel=1, mtime=0)
