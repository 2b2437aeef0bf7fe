"""Windows as a data directory's database keeps them, and how to read them: for the platform and for training alike.

What is kept is additive: a window is the sum of its rows in three places. Open windows are small chunks that the engine
replaces; windows that closed are chunks by shard; hours and longer end up as rows, clustered by series, so that one
user's month is read without touching anyone else's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.database import Connection
from features.window_rows import AMOUNTS, COUNTS, WindowRows, merged
from features.windows import KEYS, SCHEMA

ROLLUP_S = 3_600
"""Windows this long and longer are rolled up into rows and kept; shorter ones stay chunks and are dropped by age."""

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS series (
        series_id INTEGER PRIMARY KEY,
        shard INTEGER NOT NULL,
        user_id TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        micro_operation_type TEXT NOT NULL,
        meter TEXT NOT NULL,
        UNIQUE (user_id, operation_id, micro_operation_type, meter)
    )
    """,
    "CREATE TABLE IF NOT EXISTS next_series (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL)",
    """
    CREATE TABLE IF NOT EXISTS open_windows (
        chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,
        window_s INTEGER NOT NULL,
        body BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS window_chunks (
        chunk_id INTEGER PRIMARY KEY AUTOINCREMENT,
        window_s INTEGER NOT NULL,
        shard INTEGER NOT NULL,
        is_merged INTEGER NOT NULL,
        first_ns INTEGER NOT NULL,
        last_ns INTEGER NOT NULL,
        windows INTEGER NOT NULL,
        body BLOB NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS window_chunks_by_shard ON window_chunks (window_s, shard, is_merged, last_ns)",
    """
    CREATE TABLE IF NOT EXISTS rollups (
        window_s INTEGER NOT NULL,
        series_id INTEGER NOT NULL,
        window_start_ns INTEGER NOT NULL,
        events INTEGER NOT NULL,
        cpu_cycles INTEGER NOT NULL,
        memory_bytes INTEGER NOT NULL,
        network_bytes INTEGER NOT NULL,
        disk_bytes INTEGER NOT NULL,
        execution_time_millionths REAL NOT NULL,
        units_millionths REAL NOT NULL,
        PRIMARY KEY (window_s, series_id, window_start_ns)
    ) WITHOUT ROWID
    """,
)
SUMMED = (*COUNTS, "execution_time_millionths", "units_millionths")
"""The summed columns of rollups, in the order of `WindowRows.counts` and `amounts`."""

_TOTALS = {name: SCHEMA[name] for name in (*KEYS, *COUNTS, *AMOUNTS)}


def create(connection: Connection) -> None:
    """Make the tables where they are missing."""
    for table in TABLES:
        connection.execute(table)


@dataclass(frozen=True, slots=True)
class SeriesNames:
    """All series in the order of their keys: ``names`` (columns `KEYS`), their shards, and the place of each number."""

    version: tuple[int, int]
    names: pl.DataFrame
    shards: NDArray[np.int64]
    places: NDArray[np.int32]

    def ranked(self, rows: WindowRows) -> WindowRows:
        """The rows with places instead of numbers."""
        return WindowRows(rows.starts_ns, self.places[rows.series], rows.counts, rows.amounts)


class WindowsReader:
    """Reads windows on a connection; usable from several threads, each with its own connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: SeriesNames | None = None

    def windows(
        self, connection: Connection, window_s: int, start_ns: int, end_ns: int, **keys: str | None
    ) -> pl.DataFrame:
        """Windows of one length that start in [start_ns, end_ns), sorted by start and key, columns of `SCHEMA`.

        ``keys`` are names of `features.windows.KEYS`; None leaves one open. Raises ValueError for other names.
        """
        with _snapshot(connection):
            series = self._series(connection)
            asked = _asked(keys)
            parts = [series.ranked(rows) for rows in _chunks(connection, series, asked, window_s, start_ns, end_ns)]
            if window_s >= ROLLUP_S:
                parts.append(series.ranked(_rollups(connection, asked, window_s, start_ns, end_ns)))
        return merged(parts, window_s * 1_000_000_000).used().frame(series.names)

    def totals(
        self, connection: Connection, window_s: int, start_ns: int, end_ns: int, user: str | None = None
    ) -> pl.DataFrame:
        """Sums over the windows of one length that start in [start_ns, end_ns), one row a key, sorted by key."""
        with _snapshot(connection):
            series = self._series(connection)
            asked = _asked({"user_id": user})
            parts = [series.ranked(rows) for rows in _chunks(connection, series, asked, window_s, start_ns, end_ns)]
            if window_s >= ROLLUP_S:
                parts.append(series.ranked(_rollup_sums(connection, asked, window_s, start_ns, end_ns)))
        rows = merged([_timeless(part) for part in parts], 1).used().frame(series.names)
        return rows.select(pl.col(name).cast(kind) for name, kind in _TOTALS.items())

    def common_operations(self, connection: Connection, users: int) -> frozenset[str]:
        """Operations that at least so many users ever used."""
        with _snapshot(connection):
            names = self._series(connection).names
        counts = names.group_by("operation_id").agg(pl.col("user_id").n_unique().alias("users"))
        return frozenset(counts.filter(pl.col("users") >= users)["operation_id"].to_list())

    def users(self, connection: Connection) -> list[str]:
        """Everyone who ever used anything, sorted."""
        with _snapshot(connection):
            names = self._series(connection).names
        return names["user_id"].unique(maintain_order=True).to_list()

    def _series(self, connection: Connection) -> SeriesNames:
        """All series; read again only where some came or went. Numbers are never used twice, so two numbers tell."""
        version = connection.execute("SELECT count(*), coalesce(max(series_id), -1) FROM series").fetchone()
        with self._lock:
            if self._names is None or self._names.version != version:
                self._names = _read_series(connection, version)
            return self._names


@contextmanager
def _snapshot(connection: Connection) -> Iterator[None]:
    """One state of the database for several queries; the caller's transaction where there is one."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def _read_series(connection: Connection, version: tuple[int, int]) -> SeriesNames:
    query = f"SELECT series_id, shard, {', '.join(KEYS)} FROM series"  # noqa: S608
    schema = {"number": pl.Int64(), "shard": pl.Int64()} | dict.fromkeys(KEYS, pl.String())
    frame = pl.DataFrame(connection.execute(query).fetchall(), schema=schema, orient="row").sort(KEYS)
    numbers = frame["number"].to_numpy()
    places = np.full(version[1] + 1, -1, np.int32)
    places[numbers] = np.arange(len(numbers), dtype=np.int32)
    return SeriesNames(version, frame.select(KEYS), frame["shard"].to_numpy(), places)


def _asked(keys: Mapping[str, str | None]) -> dict[str, str]:
    asked = {name: value for name, value in keys.items() if value is not None}
    unknown = [name for name in asked if name not in KEYS]
    if unknown:
        raise ValueError(f"series have no key {unknown[0]!r}; one of {', '.join(KEYS)}")
    return asked


def _chunks(
    connection: Connection,
    series: SeriesNames,
    keys: Mapping[str, str],
    window_s: int,
    start_ns: int,
    end_ns: int,
) -> Iterator[WindowRows]:
    """Rows of chunks, open and closed, within the span and of the series that have the keys."""
    matches = [pl.col("user_id").is_not_null(), *(pl.col(name) == value for name, value in keys.items())]
    chosen = series.names.select(pl.all_horizontal(matches).alias("chosen")).to_series().to_numpy()
    shards = np.unique(series.shards[chosen]).tolist() or [-1]  # an empty list is no SQL everywhere
    query = (
        "SELECT body FROM window_chunks WHERE window_s = ? AND is_merged IN (0, 1) "  # noqa: S608
        f"AND shard IN ({', '.join(map(str, shards))}) AND last_ns >= ? AND first_ns < ? "
        "UNION ALL SELECT body FROM open_windows WHERE window_s = ?"
    )
    for (body,) in connection.execute(query, (window_s, start_ns, end_ns, window_s)):
        rows = WindowRows.decode(body)
        kept = (rows.starts_ns >= start_ns) & (rows.starts_ns < end_ns)
        if keys:
            kept &= chosen[series.places[rows.series]]
        yield rows if kept.all() else rows.take(kept)


def _rollups(connection: Connection, keys: Mapping[str, str], window_s: int, start_ns: int, end_ns: int) -> WindowRows:
    where, values = _where(keys, window_s, start_ns, end_ns)
    query = f"SELECT window_start_ns, series_id, {', '.join(SUMMED)} FROM rollups WHERE {where}"  # noqa: S608
    return _rows(connection.execute(query, values).fetchall())


def _rollup_sums(
    connection: Connection, keys: Mapping[str, str], window_s: int, start_ns: int, end_ns: int
) -> WindowRows:
    where, values = _where(keys, window_s, start_ns, end_ns)
    sums = ", ".join(f"sum({name})" for name in SUMMED)
    query = f"SELECT 0, series_id, {sums} FROM rollups WHERE {where} GROUP BY series_id"  # noqa: S608
    return _rows(connection.execute(query, values).fetchall())


def _where(keys: Mapping[str, str], window_s: int, start_ns: int, end_ns: int) -> tuple[str, tuple[object, ...]]:
    """Condition and its values; series are named by their number, so that each is sought in its own span of rows."""
    named = " AND ".join(f"{key} = ?" for key in keys)
    mine = f"IN (SELECT series_id FROM series WHERE {named})" if keys else ">= 0"  # noqa: S608
    span = f"window_s = ? AND series_id {mine} AND window_start_ns >= ? AND window_start_ns < ?"
    return span, (window_s, *keys.values(), start_ns, end_ns)


def _rows(found: list[tuple[float, ...]]) -> WindowRows:
    if not found:
        return WindowRows.empty()
    columns = list(zip(*found, strict=True))
    counts = np.array(columns[2 : 2 + len(COUNTS)], np.int64)
    amounts = np.array(columns[2 + len(COUNTS) :], np.float64)
    return WindowRows(np.array(columns[0], np.int64), np.array(columns[1], np.int32), counts, amounts)


def _timeless(rows: WindowRows) -> WindowRows:
    return WindowRows(np.zeros_like(rows.starts_ns), rows.series, rows.counts, rows.amounts)


def next_number(connection: Connection) -> int:
    """The number of the next new series; one that was erased is never used again."""
    row = connection.execute("SELECT number FROM next_series").fetchone()
    return int(row[0]) if row else 0
