"""Merges chunks of windows that have gathered, each merge a short transaction beside the engine's own.

What a step adds are small chunks. Merging them inside the step's transaction would keep ingest waiting for as long as
it takes to read, sum up and write all shards of all lengths, which gather in step; so it comes after, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import numpy as np

from features.database import Connection
from features.stored_windows import ROLLUP_S
from features.window_rows import WindowRows, merged
from serving.storage import window_table
from serving.storage.erasure import last_erasure

CHUNKS, WINDOWS = 24, 50_000
"""What gathers in a shard before it is merged, or rolled up: the fewer times, the fewer pages of hours are touched."""

MERGES = 8
"""Merges after one step at most: more than come about, and never all shards at once."""

HOURS = 4_000
"""Rows that are rolled up in one transaction."""

Where = tuple[int, int]
"""(window length in seconds, shard)."""

Transaction = Callable[[], AbstractContextManager[Connection]]


class Gathered:
    """How many chunks and windows have gathered, by window length and shard."""

    def __init__(self, connection: Connection) -> None:
        """Count what there is."""
        query = "SELECT window_s, shard, count(*), sum(windows) FROM window_chunks WHERE is_merged = 0 GROUP BY 1, 2"
        self._counts = {(row[0], row[1]): (row[2], row[3]) for row in connection.execute(query).fetchall()}

    def add(self, chunks: Iterable[tuple[int, int, int]]) -> None:
        """Count chunks that were written: (window length, shard, windows)."""
        for window_s, shard, windows in chunks:
            before = self._counts.get((window_s, shard), (0, 0))
            self._counts[window_s, shard] = before[0] + 1, before[1] + windows

    def merge(self, connection: Connection, transaction: Transaction) -> int:
        """Merge what is most in need of it; returns how many shards it merged.

        ``transaction`` gives ``connection`` inside one, or raises where another worker has taken over.
        """
        due = [where for where, (chunks, windows) in self._counts.items() if chunks >= CHUNKS or windows >= WINDOWS]
        due.sort(key=lambda where: self._counts[where], reverse=True)
        for where in due[:MERGES]:
            if merge(connection, transaction, *where):
                self._counts[where] = 0, 0
        return len(due[:MERGES])


def merge(connection: Connection, transaction: Transaction, window_s: int, shard: int) -> bool:
    """Merge the chunks of a shard; False where data were erased meanwhile, and nothing was done."""
    erasure = last_erasure(connection)
    query = "SELECT chunk_id, body FROM window_chunks WHERE window_s = ? AND shard = ? AND is_merged = 0"
    found = connection.execute(query, (window_s, shard)).fetchall()
    numbers = [number for number, _ in found]
    rest = merged([WindowRows.decode(body) for _, body in found], window_s * 1_000_000_000)
    rolls_up = window_s >= ROLLUP_S
    if rolls_up:
        rest = rest.take(np.lexsort((rest.starts_ns, rest.series)))
    while numbers:
        part, rest = (rest.take(slice(HOURS)), rest.take(slice(HOURS, None))) if rolls_up else (rest, rest)
        row = window_table.chunk(window_s, shard, rest, is_merged=not rolls_up) if len(rest) else None
        with transaction():
            if last_erasure(connection) != erasure:
                return False
            connection.executemany("DELETE FROM window_chunks WHERE chunk_id = ?", [(number,) for number in numbers])
            if rolls_up:
                window_table.roll_up(connection, window_s, part)
            if row is not None:
                window_table.keep_chunks(connection, [row])
        query = "SELECT max(chunk_id) FROM window_chunks WHERE window_s = ? AND shard = ? AND is_merged = 0"
        numbers = [connection.execute(query, (window_s, shard)).fetchone()[0]] if rolls_up and len(rest) else []
    return True
