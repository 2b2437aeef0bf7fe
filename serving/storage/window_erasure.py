"""Removes one user's series, windows and baselines, and counts what there is of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.database import Connection, tables
from features.window_rows import WindowRows
from serving.storage.window_table import shard_of


def windows_of(connection: Connection, user: str) -> int:
    """How many windows of a user are kept, of all lengths."""
    numbers = _numbers(connection, user)
    if not numbers:
        return 0
    query = f"SELECT count(*) FROM rollups WHERE series_id IN ({_listed(numbers)})"  # noqa: S608
    count = int(connection.execute(query).fetchone()[0])
    return count + sum(len(rows) - len(kept) for _, _, rows, kept in _chunks(connection, user, numbers))


def erase_user(connection: Connection, user: str) -> int:
    """Remove them all, inside the caller's transaction; returns how many windows there were."""
    numbers = _numbers(connection, user)
    if not numbers:
        return 0
    removed = connection.execute(f"DELETE FROM rollups WHERE series_id IN ({_listed(numbers)})").rowcount  # noqa: S608
    for table, chunk, rows, kept in _chunks(connection, user, numbers):
        removed += len(rows) - len(kept)
        if not len(kept):
            connection.execute(f"DELETE FROM {table} WHERE chunk_id = ?", (chunk,))  # noqa: S608
        elif len(kept) < len(rows):
            connection.execute(f"UPDATE {table} SET body = ? WHERE chunk_id = ?", (kept.encode(), chunk))  # noqa: S608
    connection.execute(f"DELETE FROM series WHERE series_id IN ({_listed(numbers)})")  # noqa: S608
    _erase_baselines(connection, user, numbers)
    return removed


def _erase_baselines(connection: Connection, user: str, numbers: list[int]) -> None:
    if "baselines" not in tables(connection):
        return
    found = connection.execute("SELECT body FROM baselines WHERE shard = ?", (shard_of(user),)).fetchone()
    if found is None:
        return
    batch = pa.ipc.open_stream(found[0]).read_next_batch()
    others = batch.filter(pc.invert(pc.is_in(batch["series"], pa.array(numbers, batch["series"].type))))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(others)
    connection.execute("UPDATE baselines SET body = ? WHERE shard = ?", (bytes(sink.getvalue()), shard_of(user)))


def _numbers(connection: Connection, user: str) -> list[int]:
    if "series" not in tables(connection):
        return []
    return [row[0] for row in connection.execute("SELECT series_id FROM series WHERE user_id = ?", (user,))]


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _chunks(connection: Connection, user: str, numbers: list[int]) -> Iterator[tuple[str, int, WindowRows, WindowRows]]:
    """(table, chunk, its rows, its rows without the user's) of every chunk that may hold some."""
    for table, where in (("window_chunks", f"shard = {shard_of(user)}"), ("open_windows", "1 = 1")):
        for chunk, body in connection.execute(f"SELECT chunk_id, body FROM {table} WHERE {where}").fetchall():  # noqa: S608
            rows = WindowRows.decode(body)
            yield table, chunk, rows, rows.take(~np.isin(rows.series, numbers))
