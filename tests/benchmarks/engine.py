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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import engine_peers
import pyarrow as pa
from engine_events import (
    BATCH_EVENTS,
    LATENESS_S,
    MICROS,
    OPERATIONS,
    STEP_EVENTS,
    USERS,
    WINDOWS_S,
    Spent,
    steps,
    write_events,
)

from features.contracts import Batch, LoggedBatch

ONE_THREAD = {
    f"{library}_{what}_THREADS": "1"
    for library, what in (("POLARS", "MAX"), ("OMP", "NUM"), ("OPENBLAS", "NUM"), ("MKL", "NUM"))
}


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
    "polars, windows alone": engine_peers.polars_windows,
    "duckdb, windows alone": engine_peers.duckdb_windows,
    "pandas, windows alone": engine_peers.pandas_windows,
    "polars windows, river statistics per key": engine_peers.river_statistics,
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
