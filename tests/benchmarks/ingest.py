"""Events a CPU-second: decoding and checking of bodies, the durable log, and the engine's steps, in one process."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import pyarrow as pa
from metercast.event import BATCH_MEDIA_TYPE

from features.sqlite_log import SqliteEventLog
from serving.engine.worker import EngineWorker
from serving.ingest.bodies import ARROW_MEDIA_TYPE, Limits, parse
from serving.storage.engine_store import DatabaseEngineStore

BATCHES, ROWS = 100, 100


def _bodies() -> list[bytes]:
    now = time.time()
    events = [
        {
            "timestamp": now - 60 + row / 10,
            "operationID": f"op{row % 20}",
            "microOperationType": "CPU_INSTRUCTION",
            "resourceUsage": {"cpuCycles": row, "executionTimeMs": 0.5},
            "userID": f"user{row % 50}",
            "units": 1.0,
            "meter": "executions",
        }
        for row in range(ROWS)
    ]
    keys = ({"producer": "bench", "epoch": 1, "sequence": number, "events": events} for number in range(BATCHES))
    return [json.dumps(document).encode() for document in keys]


def main() -> None:
    """Print one JSON document."""
    bodies, count = _bodies(), BATCHES * ROWS
    parse(bodies[0], BATCH_MEDIA_TYPE, Limits(), time.time())  # the first call pays for imports
    started = time.process_time()
    batches = [parse(body, BATCH_MEDIA_TYPE, Limits(), time.time())[0] for body in bodies]
    json_s = time.process_time() - started
    table = pa.Table.from_batches([batches[0].rows] * 100)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    arrow = sink.getvalue().to_pybytes()
    parse(arrow, ARROW_MEDIA_TYPE, Limits(), time.time())
    started = time.process_time()
    parse(arrow, ARROW_MEDIA_TYPE, Limits(), time.time())
    arrow_s = time.process_time() - started
    with tempfile.TemporaryDirectory() as directory:
        log = SqliteEventLog(Path(directory) / "m.db")
        started = time.process_time()
        log.append(batches)
        log_s = time.process_time() - started
        worker = EngineWorker(log, DatabaseEngineStore(Path(directory) / "m.db"))
        worker.take_over()
        started = time.process_time()
        while worker.advance():
            pass
        engine_s = time.process_time() - started
    figures = {
        "json_decoded": count / json_s,
        "arrow_decoded": table.num_rows / arrow_s,
        "logged": count / log_s,
        "engine": count / engine_s,
    }
    print(json.dumps({f"{name}_events_per_cpu_s": round(value) for name, value in figures.items()}, indent=2))


if __name__ == "__main__":
    main()
