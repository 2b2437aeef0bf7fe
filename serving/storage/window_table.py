"""The table of windows: sums are added to it, and read back as frames."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import polars as pl

from features.windows import KEYS, SCHEMA

TABLE = """
CREATE TABLE IF NOT EXISTS windows (
    window_s INTEGER NOT NULL,
    window_start_ns INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    operation_id TEXT NOT NULL,
    micro_operation_type TEXT NOT NULL,
    meter TEXT NOT NULL,
    events INTEGER NOT NULL,
    cpu_cycles INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    network_bytes INTEGER NOT NULL,
    disk_bytes INTEGER NOT NULL,
    execution_time_ms REAL NOT NULL,
    units REAL NOT NULL,
    PRIMARY KEY (window_s, window_start_ns, user_id, operation_id, micro_operation_type, meter)
) WITHOUT ROWID
"""
# One user's hours without reading everyone's, and the list of users without reading all windows.
INDEX = "CREATE INDEX IF NOT EXISTS windows_by_user ON windows (user_id, window_s, window_start_ns)"
# Rounding on the grid of features.windows keeps the sums the same whatever the batches were.
_ADD = """
INSERT INTO windows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    events = events + excluded.events,
    cpu_cycles = cpu_cycles + excluded.cpu_cycles,
    memory_bytes = memory_bytes + excluded.memory_bytes,
    network_bytes = network_bytes + excluded.network_bytes,
    disk_bytes = disk_bytes + excluded.disk_bytes,
    execution_time_ms = round(execution_time_ms + excluded.execution_time_ms, 6),
    units = round(units + excluded.units, 6)
"""
_AMOUNTS = {name: kind for name, kind in SCHEMA.items() if name != "window_start" and name not in KEYS}
_COLUMNS = ("window_start_ns", *(name for name in SCHEMA if name != "window_start"))


def create(connection: sqlite3.Connection) -> None:
    """Make the table and its index where they are missing."""
    connection.execute(TABLE)
    connection.execute(INDEX)


def users(connection: sqlite3.Connection) -> list[str]:
    """Everyone who has a window, sorted; the index is read once a user, not once a window."""
    query = """
        WITH RECURSIVE known (user) AS (
            SELECT min(user_id) FROM windows
            UNION ALL
            SELECT (SELECT min(user_id) FROM windows WHERE user_id > user) FROM known WHERE user IS NOT NULL
        )
        SELECT user FROM known WHERE user IS NOT NULL
    """
    return [str(row[0]) for row in connection.execute(query)]


def add(connection: sqlite3.Connection, window_s: int, sums: pl.DataFrame) -> None:
    """Add sums (columns of `features.windows.SCHEMA`) to the windows of one length, inside the caller's transaction."""
    rows = sums.with_columns(pl.col("window_start").cast(pl.Int64)).select(*SCHEMA).iter_rows()
    connection.executemany(_ADD, ((window_s, *row) for row in rows))


def totals(
    connection: sqlite3.Connection, window_s: int, start_ns: int, end_ns: int, user: str | None = None
) -> pl.DataFrame:
    """Sums of the windows of one length that start in [start_ns, end_ns), one row a key of `features.windows`."""
    amounts = [f"sum({name})" if kind != pl.Float64() else f"round(sum({name}), 6)" for name, kind in _AMOUNTS.items()]
    mine = "" if user is None else " AND user_id = ?"
    query = (
        f"SELECT {', '.join(KEYS)}, {', '.join(amounts)} FROM windows WHERE window_s = ? "  # noqa: S608
        f"AND window_start_ns >= ? AND window_start_ns < ?{mine} GROUP BY {', '.join(KEYS)}"
    )
    values = (window_s, start_ns, end_ns) + (() if user is None else (user,))
    schema = {name: SCHEMA[name] for name in KEYS} | _AMOUNTS
    return pl.DataFrame(connection.execute(query, values).fetchall(), schema=schema, orient="row")


def read(
    connection: sqlite3.Connection, window_s: int, start_ns: int, end_ns: int, filters: Iterable[tuple[str, Any]] = ()
) -> pl.DataFrame:
    """Windows of one length that start in [start_ns, end_ns), in time order; filters are (column, value) pairs."""
    kept = [(column, value) for column, value in filters if value is not None]
    unknown = [column for column, _ in kept if column not in SCHEMA]
    if unknown:
        raise ValueError(f"windows have no column {unknown[0]!r}")
    where = "".join(f" AND {column} = ?" for column, _ in kept)
    query = (
        f"SELECT {', '.join(_COLUMNS)} FROM windows WHERE window_s = ? AND window_start_ns >= ? "  # noqa: S608
        f"AND window_start_ns < ?{where} ORDER BY window_start_ns"
    )
    rows = connection.execute(query, (window_s, start_ns, end_ns, *(value for _, value in kept))).fetchall()
    schema = {"window_start": pl.Int64()} | {name: kind for name, kind in SCHEMA.items() if name != "window_start"}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame.with_columns(pl.col("window_start").cast(SCHEMA["window_start"]))
