"""Usage straight from the log up to an offset: what an invoice is computed from, and can be computed from again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from features.contracts import EventLog
from features.windows import KEYS, aggregate, empty, merge

NANOSECONDS = 1_000_000_000
PAGE = 256
ArchivedParts = Callable[[], Iterator[tuple[int, int, pl.DataFrame]]]
"""(first offset, last offset, events) of every archived part, in the order of the log."""


def no_archive() -> Iterator[tuple[int, int, pl.DataFrame]]:
    """Nothing was archived."""
    return iter(())


@dataclass(frozen=True, slots=True)
class LogReader:
    """The windows of one user as the log has them, as fine as the shortest window that was summed."""

    frames: Mapping[int, pl.DataFrame]

    def windows(self, window_s: int, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Every window of a length; raises KeyError for one that was not summed."""
        start = pl.col("window_start").cast(pl.Int64)
        return self.frames[window_s].filter((start >= start_ns) & (start < end_ns))

    def totals(self, window_s: int, start_ns: int, end_ns: int) -> pl.DataFrame:
        """The sums of all of them, one row a kind."""
        kept = self.windows(window_s, start_ns, end_ns)
        return kept if kept.is_empty() else merge(kept, 2**62).sort(*KEYS)


def read_log(
    log: EventLog,
    windows_s: tuple[int, ...],
    span_ns: tuple[int, int],
    until_offset: int,
    user: str | None = None,
    archived: ArchivedParts = no_archive,
) -> dict[str, LogReader]:
    """The usage in [start, end) of one user or of all, by user, from batches up to an offset; one pass over the log."""
    finest_ns = min(windows_s) * NANOSECONDS
    sums = empty()
    for events in log_events(log, until_offset, archived):
        at = pl.col("timestamp").cast(pl.Int64)
        inside = events.filter((at >= span_ns[0]) & (at < span_ns[1]))
        if user is not None:
            inside = inside.filter(pl.col("user_id") == user)
        if inside.height:
            sums = merge(pl.concat([sums, aggregate(inside, finest_ns)]), finest_ns)
    readers = {}
    for name, own in sums.partition_by("user_id", as_dict=True).items():
        frames = {window_s: merge(own, window_s * NANOSECONDS) for window_s in windows_s}
        readers[str(name[0])] = LogReader(frames)
    if user is not None and user not in readers:
        readers[user] = LogReader(dict.fromkeys(windows_s, empty()))
    return readers


def log_events(log: EventLog, until_offset: int, archived: ArchivedParts) -> Iterator[pl.DataFrame]:
    """The events of the log up to an offset, in pieces, archived ones first."""
    after = 0
    for first, last, events in archived():
        if first <= until_offset:
            yield events
            after = max(after, last)
    while after < until_offset:
        batches = [one for one in log.read(after, PAGE) if one.offset <= until_offset]
        if not batches:
            return
        after = batches[-1].offset
        frames: list[Any] = [pl.from_arrow(one.batch.rows) for one in batches if one.batch.rows.num_rows]
        if frames:
            yield pl.concat(frames)
