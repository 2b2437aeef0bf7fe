"""A new version of the detectors on an old data directory."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import polars as pl

from features.windows import SCHEMA
from serving.alerts.hook import DetectionHook
from serving.alerts.store import create


def test_state_of_another_version_does_not_stop_the_engine() -> None:
    """A detector whose kept state cannot be read starts anew and is kept in the new form."""
    connection = sqlite3.connect(":memory:")
    create(connection)
    connection.execute("""INSERT INTO detectors VALUES ('ada|checkout|CPU_INSTRUCTION', '{"document": {}, "x": 1}')""")
    row = dict.fromkeys(SCHEMA, 0) | {
        "window_start": datetime(2026, 1, 1, tzinfo=UTC),
        "user_id": "ada",
        "operation_id": "checkout",
        "micro_operation_type": "CPU_INSTRUCTION",
        "meter": "executions",
        "cpu_cycles": 1_000,
        "units": 1.0,
    }
    hook = DetectionHook(1)
    hook.closed(1, pl.DataFrame([row], schema=SCHEMA, orient="row"), connection)
    hook.write(connection)
    kept = dict(connection.execute("SELECT series, state FROM detectors").fetchall())
    assert all('"x"' not in state for state in kept.values())
