"""History of a month: what one user's month to date and an audit of raw events cost, and how many bytes are kept."""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from features.contracts import Batch, LoggedBatch
from features.database import connect
from features.schema import ARROW_SCHEMA
from features.sqlite_log import SqliteEventLog
from features.windows import KEYS, RESOURCES
from serving.engine.worker import EngineWorker
from serving.storage.archive import Archive
from serving.storage.audit import audit
from serving.storage.engine_store import DatabaseEngineStore
from serving.storage.history import History

HOUR_NS = 3_600_000_000_000
USERS, OPERATIONS = 1_000, 4
MICROS = ("CPU_INSTRUCTION", "MEMORY_ALLOC", "NETWORK_SEND", "DISK_READ")
PART_EVENTS, BATCH_EVENTS, QUESTIONS = 500_000, 10_000, 300
DAYS = 30


def parts(events: int, start_ns: int) -> Iterator[pa.Table]:
    """A month of events in the order of time: users of very different size, busy by day and quiet by night."""
    rng = np.random.default_rng(11)
    weights = rng.lognormal(0.0, 1.5, USERS)
    names = np.array([f"customer-{number:04d}" for number in range(USERS)])
    hours = DAYS * 24
    rhythm = np.cumsum(1.2 + np.sin(np.arange(hours) / 24 * 2 * np.pi))
    for first in range(0, events, PART_EVENTS):
        count = min(PART_EVENTS, events - first)
        share = (first + np.arange(count)) / events * rhythm[-1]
        at_h = np.interp(share, np.concatenate([[0.0], rhythm]), np.arange(hours + 1))
        user, operation, micro = (
            rng.choice(USERS, count, p=weights / weights.sum()),
            rng.integers(0, OPERATIONS, count),
            rng.integers(0, len(MICROS), count),
        )
        columns: dict[str, Any] = {
            "timestamp": start_ns + (at_h * HOUR_NS).astype(np.int64) // 1_000 * 1_000,
            "operation_id": np.array([f"operation_{number}" for number in range(OPERATIONS)])[operation],
            "micro_operation_type": np.array(MICROS)[micro],
            "cpu_cycles": rng.lognormal(14.0, 1.0, count).astype(np.int64),
            "memory_bytes": rng.integers(1, 2**16, count) * (micro == 1),
            "network_bytes": rng.integers(1, 2**14, count) * (micro == 2),
            "disk_bytes": rng.integers(1, 2**14, count) * (micro == 3),
            "execution_time_ms": rng.lognormal(0.0, 1.0, count).round(6),
            "user_id": names[user],
            "execution_id": first + np.arange(count),
            "units": np.where(micro == 0, 1.0, 0.0),
            "meter": np.where(micro == 0, "executions", ""),
            "source": np.full(count, "thread-clock"),
            "producer": np.full(count, "shop-1"),
        }
        zeros = np.zeros(count, np.int64)
        arrays = [pa.array(columns.get(field.name, zeros)).cast(field.type) for field in ARROW_SCHEMA]
        yield pa.Table.from_arrays(arrays, schema=ARROW_SCHEMA)


class PartLog:
    """An event log of one part after the other, each archived before the engine reads on."""

    def __init__(self) -> None:
        self.waiting: list[LoggedBatch] = []
        self._offset = 0

    def hold(self, table: pa.Table) -> tuple[int, int]:
        """Take in a part; returns its first and last offset."""
        first = self._offset + 1
        for rows in table.to_batches(max_chunksize=BATCH_EVENTS):
            self._offset += 1
            received_ns = int(rows["timestamp"].cast(pa.int64()).to_numpy().max())
            self.waiting.append(LoggedBatch(self._offset, received_ns, Batch("shop-1", 0, self._offset, rows)))
        return first, self._offset

    def read(self, after_offset: int, limit: int) -> list[LoggedBatch]:
        """As any log."""
        self.waiting = [one for one in self.waiting if one.offset > after_offset]
        return self.waiting[:limit]

    def last_offset(self) -> int:
        """Offset of the newest batch."""
        return self._offset


def fill(directory: Path, events: int, start_ns: int) -> dict[str, float]:
    """Run a month through the engine and into the archive; CPU seconds of both."""
    path = directory / "metercast.db"
    SqliteEventLog(path).close()
    log, spent = PartLog(), {"engine": 0.0, "archive": 0.0}
    worker = EngineWorker(log, DatabaseEngineStore(path), (3_600,), 3_600.0, batch_limit=PART_EVENTS // BATCH_EVENTS)
    worker.take_over()
    archive = Archive(connect(path), directory / "history")
    for table in parts(events, start_ns):
        first, last = log.hold(table)
        started = time.process_time()
        archive.write(f"events-{first:012}-{last:012}", first, last, pl.DataFrame(pl.from_arrow(table)))
        spent["archive"] += time.process_time() - started
        started = time.process_time()
        worker.advance()
        spent["engine"] += time.process_time() - started
    return spent


def timed(answer: Callable[[str], Any], users: list[str]) -> dict[str, float]:
    """Milliseconds of the answers by the wall clock and, as others may be at work, of the CPU."""
    wall, cpu = [], []
    for user in users:
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        answer(user)
        wall.append((time.perf_counter() - wall_s) * 1e3)
        cpu.append((time.process_time() - cpu_s) * 1e3)
    p99 = {
        name: sorted(spent)[min(len(spent) - 1, round(len(spent) * 0.99))]
        for name, spent in (("", wall), ("cpu_", cpu))
    }
    return {
        "p50_ms": round(statistics.median(wall), 2),
        "p99_ms": round(p99[""], 2),
        "cpu_p50_ms": round(statistics.median(cpu), 2),
        "cpu_p99_ms": round(p99["cpu_"], 2),
    }


def duckdb_month(directory: Path) -> Callable[[str], Any]:
    """Month to date of one user by DuckDB from the raw Parquet parts, on one thread."""
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 1")
    sums = ", ".join(f"sum({name})" for name in RESOURCES)
    source = f"read_parquet('{directory}/history/*.parquet')"
    query = f"SELECT {', '.join(KEYS)}, count(*), {sums} FROM {source} WHERE user_id = ? GROUP BY ALL"
    return lambda user: connection.execute(query, [user]).fetchall()


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=50_000_000, help="default: %(default)s")
    args = parser.parse_args()
    if importlib.util.find_spec("duckdb") is None:
        parser.error("DuckDB is not installed; `make bench-history` installs what it needs")
    start_ns = time.time_ns() // HOUR_NS * HOUR_NS - DAYS * 24 * HOUR_NS
    end_ns = start_ns + DAYS * 24 * HOUR_NS
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        spent = fill(directory, args.events, start_ns)
        path = directory / "metercast.db"
        connection = connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        history, archive = History(path), Archive(connection, directory / "history")
        users = np.random.default_rng(3).choice(history.users(), QUESTIONS).tolist()
        few = users[:10]
        raw = archive.scan()
        sizes = {
            "rollups": path.stat().st_size,
            "parts": sum(one.stat().st_size for one in directory.glob("history/*")),
        }
        month = timed(lambda user: history.totals(3_600, start_ns, end_ns, user), users)
        hours = timed(lambda user: history.windows(3_600, start_ns, end_ns, user), users)
        audited = timed(lambda user: audit(connection, archive, user, start_ns, end_ns, 3_600), few)
        everyone = timed(lambda _: history.totals(3_600, start_ns, end_ns), few)
        by_polars = timed(
            lambda user: raw.filter(pl.col("user_id") == user).group_by(KEYS).agg(pl.col(RESOURCES).sum()).collect(),
            few,
        )
        by_duckdb = timed(duckdb_month(directory), few)
        found = {
            "events": args.events,
            "hours": connection.execute("SELECT count(*) FROM rollups").fetchone()[0],
            "bytes_per_million_events": {place: round(size / args.events * 1e6) for place, size in sizes.items()},
            "events_per_cpu_s": {what: round(args.events / cpu_s) for what, cpu_s in spent.items()},
            "month to date of one user": month,
            "hours of one user": hours,
            "month to date of everyone": everyone,
            "audit of one user, raw": audited,
            "month of one user by polars from raw parts": by_polars,
            "month of one user by duckdb from raw parts": by_duckdb,
        }
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
