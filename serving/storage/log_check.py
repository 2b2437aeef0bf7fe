"""Checks of a data directory's log: checksums, gaps in producers' sequences, and windows against a clean replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from features.database import Connection
from features.stored_rows import CorruptBatchError, walk
from features.stored_windows import WindowsReader
from features.windows import SCHEMA, aggregate, empty, merge
from serving.storage.archive import Archive
from serving.storage.retention import kept_from_ns

_SECOND_NS = 1_000_000_000
_CHUNK_EVENTS = 200_000
_KEY = ["window_start", "user_id", "operation_id", "micro_operation_type", "meter"]


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk through the log found; ``gaps`` are sequence numbers that a producer skipped: never acknowledged."""

    batches: int
    events: int
    corrupt: tuple[str, ...]
    gaps: tuple[dict[str, object], ...]


def verify(connection: Connection, archive: Archive) -> Verification:
    """Compare every batch of the log and every part of the archive with its checksum and its count of events."""
    batches, events, corrupt = 0, 0, list[str]()
    for stored in walk(connection):
        batches, events = batches + 1, events + stored.events
        try:
            rows = stored.rows()
        except CorruptBatchError as error:
            corrupt.append(str(error))
            continue
        if rows.num_rows != stored.events:
            corrupt.append(f"{stored.place} holds {rows.num_rows} events but says {stored.events}; restore a backup")
    for part in archive.parts():
        events += part.events
        try:
            archive.read(part)
        except CorruptBatchError as error:
            corrupt.append(str(error))
    return Verification(batches, events, tuple(corrupt), tuple(_gaps(connection)))


def _gaps(connection: Connection) -> Iterator[dict[str, object]]:
    query = """
        SELECT producer, epoch, min(sequence), max(sequence), count(*) FROM log
        WHERE producer NOT LIKE 'content-%' GROUP BY producer, epoch
        HAVING max(sequence) - min(sequence) + 1 > count(*)
    """
    for producer, epoch, first, last, count in connection.execute(query):
        missing = last - first + 1 - count
        yield {"producer": producer, "epoch": epoch, "first": first, "last": last, "missing": missing}


def differences(connection: Connection, archive: Archive) -> dict[int, pl.DataFrame]:
    """Windows that differ from a replay of what the engine has read, by length in seconds; empty when all agree.

    One row a window, with the columns of `features.windows.SCHEMA` and, named ``..._replayed``, what they should be;
    null is a window that one side lacks. Raises CorruptBatchError for a damaged batch. Both are read in one snapshot.
    """
    connection.execute("BEGIN")
    try:
        row = connection.execute("SELECT state FROM engine").fetchone()
        state: dict[str, Any] = json.loads(row[0]) if row and row[0] else {"offset": 0, "closed_until_ns": {}}
        lengths = sorted(int(window_s) for window_s in state["closed_until_ns"])
        replayed = _replay(connection, archive, int(state["offset"]), lengths)
        found = {}
        for window_s in lengths:
            from_ns = kept_from_ns(connection, window_s)
            kept = WindowsReader().windows(connection, window_s, from_ns, 2**63 - 1)
            odd = _unequal(kept, replayed[window_s].filter(pl.col("window_start").cast(pl.Int64) >= from_ns))
            if odd.height:
                found[window_s] = odd
    finally:
        connection.execute("ROLLBACK")
    return found


def _unequal(kept: pl.DataFrame, replayed: pl.DataFrame) -> pl.DataFrame:
    both = kept.join(replayed, on=_KEY, how="full", suffix="_replayed", coalesce=True)
    amounts = [name for name in SCHEMA if name not in _KEY]
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_replayed")) for name in amounts)
    return both.filter(~same)


def _replay(connection: Connection, archive: Archive, until_offset: int, lengths: list[int]) -> dict[int, pl.DataFrame]:
    """Windows of every length, computed anew from the batches up to an offset."""
    sums = {window_s: empty() for window_s in lengths}
    waiting: list[pl.DataFrame] = []
    for part in archive.parts():
        _take_in(sums, [archive.read(part)])
    for stored in walk(connection, 0, until_offset):
        waiting.append(pl.DataFrame(pl.from_arrow(stored.rows())))
        if sum(frame.height for frame in waiting) >= _CHUNK_EVENTS:
            _take_in(sums, waiting)
            waiting = []
    _take_in(sums, waiting)
    return sums


def _take_in(sums: dict[int, pl.DataFrame], frames: list[pl.DataFrame]) -> None:
    frames = [frame for frame in frames if frame.height]
    if not frames or not sums:
        return
    finest = min(sums)
    base = aggregate(pl.concat(frames), finest * _SECOND_NS)
    for window_s, before in sums.items():
        sums[window_s] = merge(pl.concat([before, base]), window_s * _SECOND_NS)
