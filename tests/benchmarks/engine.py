"""Engine beside others: the same events in arrival order through windows, baselines, detection and checkpoints.

Each contender runs in a process of its own on one thread; what it spends is CPU time without the reading of its input.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from features.contracts import Batch, LoggedBatch
from features.schema import ARROW_SCHEMA
from features.windows import KEYS, RESOURCES

ONE_THREAD = {
    f"{library}_{what}_THREADS": "1"
    for library, what in (("POLARS", "MAX"), ("OMP", "NUM"), ("OPENBLAS", "NUM"), ("MKL", "NUM"))
}
SECOND_NS = 1_000_000_000
USERS, OPERATIONS = 400, 10
MICROS = ("CPU_INSTRUCTION", "MEMORY_ALLOC", "NETWORK_SEND", "DISK_READ")
BATCH_EVENTS, STEP_EVENTS = 10_000, 1_000_000
WINDOWS_S, LATENESS_S = (10, 60, 3_600), 6.0


def write_events(directory: Path, events: int, span_s: float) -> None:
    """Arrow files of a step each: unevenly busy series, times within two seconds of the order of arrival."""
    rng = np.random.default_rng(7)
    weights = rng.lognormal(0.0, 1.0, USERS * OPERATIONS * len(MICROS))
    weights /= weights.sum()
    start_ns = time.time_ns() // (3_600 * SECOND_NS) * 3_600 * SECOND_NS - 7_200 * SECOND_NS
    names = [np.array([f"customer-{number:04d}" for number in range(USERS)])]
    names += [np.array([f"operation_{number}" for number in range(OPERATIONS)]), np.array(MICROS)]
    for part, first in enumerate(range(0, events, STEP_EVENTS)):
        count = min(STEP_EVENTS, events - first)
        series = rng.choice(len(weights), count, p=weights)
        arrival = (first + np.arange(count)) / events * span_s
        stamps = start_ns + ((arrival - rng.exponential(0.3, count).clip(0, 1.9)) * SECOND_NS).astype(np.int64)
        micro = series % len(MICROS)
        columns: dict[str, Any] = dict.fromkeys(ARROW_SCHEMA.names, 0) | {
            "timestamp": pa.array(stamps, ARROW_SCHEMA.field("timestamp").type),
            "user_id": pa.DictionaryArray.from_arrays(series // (OPERATIONS * len(MICROS)), names[0]).cast(pa.string()),
            "operation_id": pa.DictionaryArray.from_arrays(series // len(MICROS) % OPERATIONS, names[1]).cast(
                pa.string()
            ),
            "micro_operation_type": pa.DictionaryArray.from_arrays(micro, names[2]).cast(pa.string()),
            "cpu_cycles": rng.integers(10**5, 10**8, count),
            "memory_bytes": rng.integers(0, 10**6, count) * (micro == 1),
            "network_bytes": rng.integers(0, 10**5, count) * (micro == 2),
            "disk_bytes": rng.integers(0, 10**5, count) * (micro == 3),
            "execution_time_ms": rng.exponential(2.0, count),
            "units": np.where(micro == 0, 1.0, 0.0),
            "execution_id": rng.integers(1, 2**40, count),
        }
        meters = pa.DictionaryArray.from_arrays((micro == 0).astype(np.int8), np.array(["", "executions"]))
        columns |= {
            "meter": meters.cast(pa.string()),
            "source": np.full(count, "thread-clock"),
            "producer": np.full(count, "p"),
        }
        arrays = [
            pa.array(
                np.zeros(count, np.int64) if isinstance(columns[field.name], int) else columns[field.name], field.type
            )
            for field in ARROW_SCHEMA
        ]
        table = pa.Table.from_arrays(arrays, schema=ARROW_SCHEMA)
        with (
            pa.OSFile(str(directory / f"{part:04}.arrow"), "wb") as sink,
            pa.ipc.new_file(sink, ARROW_SCHEMA) as writer,
        ):
            writer.write_table(table, max_chunksize=BATCH_EVENTS)


def steps(directory: Path) -> Iterator[list[pa.RecordBatch]]:
    """The events of one file after the other, copied into memory."""
    for path in sorted(directory.glob("*.arrow")):
        with pa.OSFile(str(path)) as source:
            reader = pa.ipc.open_file(source)
            yield [reader.get_batch(number) for number in range(reader.num_record_batches)]


class Spent:
    """CPU seconds inside `with` blocks."""

    def __init__(self) -> None:
        self.cpu_s = 0.0

    def __enter__(self) -> None:
        self._started = time.process_time()

    def __exit__(self, *_: object) -> None:
        self.cpu_s += time.process_time() - self._started


def engine(directory: Path, limit: int, detect_s: int) -> dict[str, Any]:
    """The engine as it runs: windows, baselines, the detection hook and a durable commit of every step."""
    with tempfile.TemporaryDirectory() as elsewhere:  # imports and first calls of libraries are paid before
        run(FileLog(directory, 1), Path(elsewhere), 10, detect_s)
    with tempfile.TemporaryDirectory() as elsewhere:
        log = FileLog(directory, limit)
        cpu_s, series = run(log, Path(elsewhere), STEP_EVENTS // BATCH_EVENTS, detect_s)
        size = sum(path.stat().st_size for path in Path(elsewhere).glob("*"))
    return {"events": log.events, "cpu_s": cpu_s, "series": series, "database_bytes": size}


def run(log: FileLog, directory: Path, batch_limit: int, detect_s: int) -> tuple[float, int]:
    """Read a log to its end; CPU seconds of the steps, and the number of series."""
    from serving.alerts.hook import DetectionHook
    from serving.engine.worker import EngineWorker
    from serving.storage.engine_store import DatabaseEngineStore

    hooks, spent = [DetectionHook(detect_s)] if detect_s else [], Spent()
    store = DatabaseEngineStore(directory / "metercast.db")
    worker = EngineWorker(log, store, WINDOWS_S, LATENESS_S, hooks, batch_limit=batch_limit)
    worker.take_over()
    while log.fill():
        with spent:
            worker.advance()
    store.close()
    return spent.cpu_s, len(worker.state.series)


class FileLog:
    """An event log whose batches were read before the engine asks; received when their latest event happened."""

    def __init__(self, directory: Path, limit: int) -> None:
        self._steps = itertools.islice(steps(directory), limit)
        self.waiting: list[LoggedBatch] = []
        self._offset = self._read = self.events = 0

    def fill(self) -> bool:
        """Bring the batches of the next steps into memory; False when all were read."""
        self.waiting = [one for one in self.waiting if one.offset > self._read]
        while len(self.waiting) <= STEP_EVENTS // BATCH_EVENTS and (rows := next(self._steps, None)):
            for batch in rows:
                self._offset += 1
                self.events += batch.num_rows
                received = int(batch["timestamp"].cast(pa.int64()).to_numpy().max())
                self.waiting.append(LoggedBatch(self._offset, received, Batch("p", 1, self._offset, batch)))
        return bool(self.waiting)

    def read(self, after_offset: int, limit: int) -> list[LoggedBatch]:
        """As any log."""
        found = [one for one in self.waiting if one.offset > after_offset][:limit]
        self._read = found[-1].offset if found else self._read
        return found

    def last_offset(self) -> int:
        """Offset of the newest batch."""
        return self._offset


def polars_windows(directory: Path, limit: int) -> dict[str, Any]:
    """Windows of the same lengths and nothing else: no state, no baselines, nothing written."""
    from features.windows import aggregate, merge

    spent, events, parts = Spent(), 0, []
    for rows in itertools.islice(steps(directory), limit):
        events += sum(batch.num_rows for batch in rows)
        with spent:
            frame = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(rows)))
            parts.append(aggregate(frame, WINDOWS_S[0] * SECOND_NS))
    with spent:
        counts = [merge(pl.concat(parts), window_s * SECOND_NS).height for window_s in WINDOWS_S]
    return {"events": events, "cpu_s": spent.cpu_s, "windows": counts}


def duckdb_windows(directory: Path, limit: int) -> dict[str, Any]:
    """The same windows by SQL over each step's Arrow table, summed at the end."""
    import duckdb

    connection, spent, events = duckdb.connect(), Spent(), 0
    keys = ", ".join(("start", *KEYS))
    sums = ", ".join(f"sum({name}) AS {name}" for name in ("events", *RESOURCES))
    connection.execute("SET threads = 1")
    for number, rows in enumerate(itertools.islice(steps(directory), limit)):
        events += sum(batch.num_rows for batch in rows)
        events_of_step = pa.Table.from_batches(rows)
        start = f"epoch_ns(timestamp) // {WINDOWS_S[0] * SECOND_NS}"
        query = f"SELECT *, {start} AS start, 1 AS events FROM events_of_step"
        into = "INSERT INTO parts" if number else "CREATE TABLE parts AS"
        with spent:
            connection.register("events_of_step", events_of_step)
            connection.execute(f"{into} SELECT {keys}, {sums} FROM ({query}) GROUP BY ALL")
    counts = []
    for window_s in WINDOWS_S:
        longer = f"start // {window_s // WINDOWS_S[0]} AS start"
        with spent:
            query = f"SELECT {keys}, {sums} FROM (SELECT * REPLACE ({longer}) FROM parts) GROUP BY ALL"
            counts.append(connection.execute(f"CREATE TABLE windows_{window_s} AS {query}").fetchone()[0])
    return {"events": events, "cpu_s": spent.cpu_s, "windows": counts}


def pandas_windows(directory: Path, limit: int) -> dict[str, Any]:
    """The same windows with pandas, whose conversion from Arrow is left out of the time."""
    import pandas as pd

    spent, events, parts = Spent(), 0, []
    for rows in itertools.islice(steps(directory), limit):
        frame = pa.Table.from_batches(rows).select(["timestamp", *KEYS, *RESOURCES]).to_pandas()
        events += len(frame)
        with spent:
            frame["start"] = frame["timestamp"].astype("int64") // (WINDOWS_S[0] * SECOND_NS)
            parts.append(frame.groupby(["start", *KEYS], sort=False)[list(RESOURCES)].sum())
    counts = []
    with spent:
        whole = pd.concat(parts).reset_index()
        for window_s in WINDOWS_S:
            longer = whole.assign(start=whole["start"] // (window_s // WINDOWS_S[0]))
            counts.append(len(longer.groupby(["start", *KEYS], sort=False)[list(RESOURCES)].sum()))
    return {"events": events, "cpu_s": spent.cpu_s, "windows": counts}


def river_statistics(directory: Path, limit: int) -> dict[str, Any]:
    """Polars' windows and River's mean, variance and quantiles of every series, an object a series."""
    from river import stats

    from features.windows import aggregate

    known: dict[tuple[str, ...], tuple[Any, ...]] = {}
    spent, events = Spent(), 0
    for rows in itertools.islice(steps(directory), limit):
        events += sum(batch.num_rows for batch in rows)
        with spent:
            base = aggregate(pl.DataFrame(pl.from_arrow(pa.Table.from_batches(rows))), WINDOWS_S[0] * SECOND_NS)
            for *key, value in base.select(*KEYS, pl.col("cpu_cycles").cast(pl.Float64)).iter_rows():
                found = known.get(tuple(key))
                if found is None:
                    quantiles = (stats.Quantile(level) for level in (0.1, 0.5, 0.9))
                    found = known[tuple(key)] = (stats.Mean(), stats.Var(), *quantiles)
                for one in found:
                    one.update(value)
    return {"events": events, "cpu_s": spent.cpu_s, "series": len(known)}


def log_reading(directory: Path, limit: int) -> dict[str, Any]:
    """What unpacking and checking stored batches costs before the engine sees them."""
    from features.stored_rows import decode, encode

    spent, events, size = Spent(), 0, 0
    for rows in itertools.islice(steps(directory), limit):
        stored = [encode(batch) for batch in rows]
        events += sum(batch.num_rows for batch in rows)
        size += sum(len(body) for body, _ in stored)
        with spent:
            for body, digest in stored:
                decode(body, digest, "batch")
    return {"events": events, "cpu_s": spent.cpu_s, "stored_bytes_per_event": round(size / events, 1)}


CONTENDERS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "engine, detection on minutes": lambda directory, limit: engine(directory, limit, WINDOWS_S[1]),
    "engine without detection": lambda directory, limit: engine(directory, limit, 0),
    "polars, windows alone": polars_windows,
    "duckdb, windows alone": duckdb_windows,
    "pandas, windows alone": pandas_windows,
    "polars windows, river statistics per key": river_statistics,
    "reading the log": log_reading,
}
SLOW = ("pandas, windows alone", "polars windows, river statistics per key", "reading the log")
"""These see the first two steps only."""


def main() -> None:
    """Print one JSON document; every contender twice, interleaved, the better of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10_000_000, help="default: %(default)s")
    parser.add_argument("--span-s", type=float, default=600.0, help="event time they cover (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if importlib.util.find_spec("duckdb") is None:
        parser.error("DuckDB is not installed; `make bench-engine` installs what it needs")
    if args.contender:
        limit = 2 if args.contender in SLOW else 10**9
        figures = CONTENDERS[args.contender](args.directory, limit)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps(figures | {"peak_memory_bytes": peak}))
        return
    with tempfile.TemporaryDirectory() as directory:
        write_events(Path(directory), args.events, args.span_s)
        found: dict[str, dict[str, Any]] = {}
        for _ in range(args.rounds):
            for name in CONTENDERS:
                command = [sys.executable, __file__, "--contender", name, "--directory", directory]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | ONE_THREAD)
                figures = json.loads(done.stdout)
                if name not in found or figures["cpu_s"] < found[name]["cpu_s"]:
                    found[name] = figures
        for figures in found.values():
            figures["events_per_cpu_s"] = round(figures["events"] / figures["cpu_s"])
        series = USERS * OPERATIONS * len(MICROS)
        print(json.dumps({"events": args.events, "span_s": args.span_s, "series": series, "found": found}, indent=2))


if __name__ == "__main__":
    main()
