"""The events of the engine's benchmark, in files of a step each, and the clock that its contenders are measured by."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from features.schema import ARROW_SCHEMA

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
