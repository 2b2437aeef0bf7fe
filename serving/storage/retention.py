"""How long events and windows are kept: old ones are dropped, hours stay for bills."""

from __future__ import annotations

import json
from collections.abc import Iterable

import polars as pl

from features.database import Connection, tables
from features.stored_windows import ROLLUP_S
from serving.alerts import detector_erasure
from serving.storage import window_table
from serving.storage.archive import Archive
from serving.storage.erasure import ERASURES, last_erasure, note_erasure
from serving.storage.log_erasure import erase_rows, matching

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
        _keep_from(connection, [length for length, _ in short], before_ns)
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


def expire(connection: Connection, before_ns: int, archive: Archive, with_hours: bool = False) -> dict[str, int]:
    """Remove all events of before a time from log and archive, and windows that start before it; how many of each.

    Windows of an hour and longer, which bills rest on, go only ``with_hours``. The time is rounded down to an hour.
    """
    connection.execute(_TABLE)
    connection.execute(ERASURES)
    before_ns -= before_ns % (ROLLUP_S * 1_000_000_000)
    old = pl.col("timestamp").cast(pl.Int64) < before_ns
    until = engine_offset(connection)
    found = [offset for offset, _ in matching(connection, old, 0, until)]
    connection.execute("BEGIN IMMEDIATE")
    try:
        removed = {"events": erase_rows(connection, old, found)}
        removed["archived_events"] = archive.erase(old, last_erasure(connection) + 1)
        removed["windows"] = window_table.drop_before(connection, before_ns)
        detector_erasure.gather(connection, before_ns)
        if with_hours:
            query = "DELETE FROM rollups WHERE window_start_ns < ?"
            removed["hours"] = connection.execute(query, (before_ns,)).rowcount
        lengths = [row[0] for row in connection.execute("SELECT DISTINCT window_s FROM window_chunks")]
        lengths += [row[0] for row in connection.execute("SELECT DISTINCT window_s FROM rollups")]
        _keep_from(connection, lengths, before_ns)  # hours that stay cannot be computed again
        note_erasure(connection, removed)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    archive.tidy()
    return removed


def _keep_from(connection: Connection, lengths: Iterable[int], from_ns: int) -> None:
    """Remember from when on windows are kept, so that a replay does not take dropped ones for lost ones."""
    connection.executemany(
        "INSERT INTO retention VALUES (?, ?) ON CONFLICT (window_s) DO UPDATE SET from_ns = excluded.from_ns "
        "WHERE excluded.from_ns > retention.from_ns",
        [(length, from_ns) for length in set(lengths)],
    )
