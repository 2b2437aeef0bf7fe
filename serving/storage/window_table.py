"""Writes windows in the form that `features.stored_windows` reads: chunks that are merged, and hours as rows."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import numpy as np
import polars as pl

from features.database import Connection
from features.stored_windows import ROLLUP_S, SUMMED, next_number
from features.window_rows import WindowRows, merged
from features.windows import KEYS

SHARDS = 16
"""Users are spread over so many shards; a database keeps the number it was made with in its rows."""

_GATHERED_CHUNKS, _GATHERED_WINDOWS = 24, 50_000
"""What gathers in a shard before it is merged, or rolled up: the fewer times, the fewer pages of hours are touched."""

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


def keep_open(connection: Connection, window_s: int, rows: WindowRows, replaces: bool) -> None:
    """Add to the open windows of one length, or replace them, inside the caller's transaction."""
    if replaces:
        connection.execute("DELETE FROM open_windows WHERE window_s = ?", (window_s,))
    if len(rows):
        connection.execute("INSERT INTO open_windows (window_s, body) VALUES (?, ?)", (window_s, rows.encode()))


def keep_closed(connection: Connection, window_s: int, shard: int, rows: WindowRows) -> None:
    """Add to the closed windows of a shard, inside the caller's transaction; merges or rolls up what has gathered."""
    if not len(rows):
        return
    _insert(connection, window_s, shard, rows, is_merged=False)
    mine = "window_s = ? AND shard = ? AND is_merged = 0"
    gathered = f"SELECT count(*), coalesce(sum(windows), 0) FROM window_chunks WHERE {mine}"  # noqa: S608
    chunks, windows = connection.execute(gathered, (window_s, shard)).fetchone()
    if chunks < _GATHERED_CHUNKS and windows < _GATHERED_WINDOWS:
        return
    bodies = connection.execute(f"SELECT body FROM window_chunks WHERE {mine}", (window_s, shard)).fetchall()  # noqa: S608
    total = merged([WindowRows.decode(body) for (body,) in bodies], window_s * 1_000_000_000)
    connection.execute(f"DELETE FROM window_chunks WHERE {mine}", (window_s, shard))  # noqa: S608
    if window_s >= ROLLUP_S:
        roll_up(connection, window_s, total)
    else:
        _insert(connection, window_s, shard, total, is_merged=True)


def roll_up(connection: Connection, window_s: int, rows: WindowRows) -> None:
    """Add windows to the rollups, series by series, inside the caller's transaction."""
    order = np.lexsort((rows.starts_ns, rows.series))
    columns = [rows.starts_ns, rows.series, *rows.counts, *rows.amounts]
    lists = [column[order].tolist() for column in columns]
    connection.executemany(_ADD, zip([window_s] * len(rows), *lists, strict=True))


def _insert(connection: Connection, window_s: int, shard: int, rows: WindowRows, is_merged: bool) -> None:
    connection.execute(
        "INSERT INTO window_chunks (window_s, shard, is_merged, first_ns, last_ns, windows, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            window_s,
            shard,
            int(is_merged),
            int(rows.starts_ns.min()),
            int(rows.starts_ns.max()),
            len(rows),
            rows.encode(),
        ),
    )


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
        keep_closed(connection, window_s, shard, rows.take(shards == shard))


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
