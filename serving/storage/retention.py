"""How long short windows are kept: old ones are dropped, hours stay for bills."""

from __future__ import annotations

import json

from features.database import Connection, tables
from features.stored_windows import ROLLUP_S
from serving.storage import window_table

DAY_NS = 86_400 * 1_000_000_000

_TABLE = "CREATE TABLE IF NOT EXISTS retention (window_s INTEGER PRIMARY KEY, from_ns INTEGER NOT NULL)"


def engine_offset(connection: Connection) -> int:
    """How far the engine has read the log; 0 before its first start."""
    if "engine" not in tables(connection):
        return 0
    row = connection.execute("SELECT state FROM engine").fetchone()
    return int(json.loads(row[0])["offset"]) if row and row[0] else 0


def drop_windows(connection: Connection, before_ns: int) -> int:
    """Drop windows shorter than an hour that start before a time; returns how many there were."""
    connection.execute(_TABLE)
    before_ns -= before_ns % (ROLLUP_S * 1_000_000_000)
    connection.execute("BEGIN IMMEDIATE")
    try:
        lengths = [row[0] for row in connection.execute("SELECT DISTINCT window_s FROM window_chunks")]
        short = [(length, before_ns) for length in lengths if length < ROLLUP_S]
        # The time is kept, so that a replay does not take dropped windows for lost ones.
        connection.executemany(
            "INSERT INTO retention VALUES (?, ?) ON CONFLICT (window_s) DO UPDATE SET from_ns = excluded.from_ns "
            "WHERE excluded.from_ns > retention.from_ns",
            short,
        )
        dropped = window_table.drop_before(connection, before_ns)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return dropped


def kept_from_ns(connection: Connection, window_s: int) -> int:
    """Start of the oldest window of a length that is kept, in Unix nanoseconds; 0 when all are."""
    if "retention" not in tables(connection):
        return 0
    row = connection.execute("SELECT from_ns FROM retention WHERE window_s = ?", (window_s,)).fetchone()
    return int(row[0]) if row else 0
