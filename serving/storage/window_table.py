"""Writes windows in the form that `features.stored_windows` reads: chunks that are merged, and hours as rows."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import numpy as np
import polars as pl

from features.database import Connection
from features.stored_windows import ROLLUP_S, SUMMED, next_number
from features.window_rows import WindowRows
from features.windows import KEYS

SHARDS = 16
"""Users are spread over so many shards; a database keeps the number it was made with in its rows."""

Chunk = tuple[int, int, int, int, int, int, bytes]
"""(window length in seconds, shard, whether merged, first and last start, number of windows, encoded rows)."""

_MARK = ", ".join("?" for _ in range(3 + len(SUMMED)))
_ADD = f"""
INSERT INTO rollups (window_s, window_start_ns, series_id, {", ".join(SUMMED)}) VALUES ({_MARK})
ON CONFLICT (window_s, series_id, window_start_ns) DO UPDATE SET
{", ".join(f"{name} = rollups.{name} + excluded.{name}" for name in SUMMED)}
"""  # noqa: S608


def shard_of(user: str) -> int:
    """The shard of a user: CRC-32 of the UTF-8, the same on every machine; all series of a user are in one."""
    return crc32(user.encode()) % SHARDS


def add_series(connection: Connection, rows: Iterable[tuple[int, int, str, str, str, str]]) -> None:
    """Enter series: (number, shard, and the key), inside the caller's transaction."""
    new = list(rows)
    if not new:
        return
    connection.executemany("INSERT INTO series VALUES (?, ?, ?, ?, ?, ?)", new)
    connection.execute(
        "INSERT INTO next_series VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET number = excluded.number "
        "WHERE excluded.number > next_series.number",
        (max(row[0] for row in new) + 1,),
    )


def keep_open(connection: Connection, window_s: int, body: bytes | None, replaces: bool) -> None:
    """Add encoded rows to the open windows of one length, or replace them, inside the caller's transaction."""
    if replaces:
        connection.execute("DELETE FROM open_windows WHERE window_s = ?", (window_s,))
    if body is not None:
        connection.execute("INSERT INTO open_windows (window_s, body) VALUES (?, ?)", (window_s, body))


def chunk(window_s: int, shard: int, rows: WindowRows, is_merged: bool = False) -> Chunk:
    """Closed windows of a shard as a row of the table of chunks."""
    first_ns, last_ns = int(rows.starts_ns.min()), int(rows.starts_ns.max())
    return window_s, shard, int(is_merged), first_ns, last_ns, len(rows), rows.encode()


def keep_chunks(connection: Connection, chunks: Iterable[Chunk]) -> None:
    """Add to the closed windows, inside the caller's transaction."""
    connection.executemany(
        "INSERT INTO window_chunks (window_s, shard, is_merged, first_ns, last_ns, windows, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        chunks,
    )


def roll_up(connection: Connection, window_s: int, rows: WindowRows) -> None:
    """Add windows to the rollups, series by series, inside the caller's transaction."""
    order = np.lexsort((rows.starts_ns, rows.series))
    columns = [rows.starts_ns, rows.series, *rows.counts, *rows.amounts]
    lists = [column[order].tolist() for column in columns]
    connection.executemany(_ADD, zip([window_s] * len(rows), *lists, strict=True))


def add(connection: Connection, window_s: int, sums: pl.DataFrame) -> None:
    """Add windows (columns of `features.windows.SCHEMA`) from elsewhere, inside the caller's transaction."""
    known = _numbers(connection)
    new = sums.select(KEYS).unique(maintain_order=True).join(known, on=KEYS, how="anti")
    first = next_number(connection)
    add_series(connection, ((first + at, shard_of(key[0]), *key) for at, key in enumerate(new.iter_rows())))
    numbers = sums.join(_numbers(connection), on=KEYS, how="left", maintain_order="left")["number"].to_numpy()
    rows = WindowRows.of(sums, numbers)
    if window_s >= ROLLUP_S:
        roll_up(connection, window_s, rows)
        return
    shards = sums["user_id"].map_elements(shard_of, pl.Int64).to_numpy()
    for shard in np.unique(shards).tolist():
        keep_chunks(connection, [chunk(window_s, shard, rows.take(shards == shard))])


def _numbers(connection: Connection) -> pl.DataFrame:
    query = f"SELECT series_id, {', '.join(KEYS)} FROM series"  # noqa: S608
    schema = {"number": pl.Int32()} | dict.fromkeys(KEYS, pl.String())
    return pl.DataFrame(connection.execute(query).fetchall(), schema=schema, orient="row")


def drop_before(connection: Connection, before_ns: int) -> int:
    """Drop chunks of short windows that all start before a time, inside the caller's transaction; how many windows."""
    old = "window_s < ? AND last_ns < ?"
    values = (ROLLUP_S, before_ns)
    count = connection.execute(f"SELECT coalesce(sum(windows), 0) FROM window_chunks WHERE {old}", values).fetchone()[0]  # noqa: S608
    connection.execute(f"DELETE FROM window_chunks WHERE {old}", values)  # noqa: S608
    return int(count)
