"""Events as they arrived, in arrays: what the watermark was when each came, and so which of them were late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.contracts import LoggedBatch
from features.schema import ARROW_SCHEMA
from features.window_rows import AMOUNTS, COUNTS, WindowRows, sum_events
from features.windows import KEYS, RETRACTION

NANOSECONDS = 1_000_000_000
_COLUMNS = ["timestamp", *KEYS, *COUNTS[1:], *AMOUNTS]


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Events in arrays of one length: times in Unix nanoseconds, numbers of series, counts and amounts."""

    stamps_ns: NDArray[np.int64]
    series: NDArray[np.int32]
    counts: tuple[NDArray[np.int64], ...]
    amounts: tuple[NDArray[np.float64], ...]
    signs: NDArray[np.int64] | None = None
    """-1 for one that takes another back, 1 for all others; None where there are only those."""

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def take(self, which: NDArray[np.bool_]) -> Arrivals:
        """The events of a mask."""
        counts = tuple(values[which] for values in self.counts)
        amounts = tuple(values[which] for values in self.amounts)
        signs = None if self.signs is None else self.signs[which]
        return Arrivals(self.stamps_ns[which], self.series[which], counts, amounts, signs)

    def sums(self, window_s: int) -> WindowRows:
        """Their windows of one length."""
        window_ns = window_s * NANOSECONDS
        starts_ns = self.stamps_ns - self.stamps_ns % window_ns
        return sum_events(starts_ns, window_ns, self.series, self.counts, self.amounts, self.signs)


@dataclass(frozen=True, slots=True)
class Watermarks:
    """The watermark that each batch found (Unix nanoseconds, one a batch), how many events it has, and the last."""

    found_ns: NDArray[np.int64]
    events: NDArray[np.int64]
    after_ns: int

    def late(self, stamps_ns: NDArray[np.int64], window_s: int) -> NDArray[np.bool_] | None:
        """Whose window of a length had closed before they came; None when nobody's."""
        window_ns = window_s * NANOSECONDS
        full = self.events > 0
        if not full.any():
            return None
        earliest = np.minimum.reduceat(stamps_ns, (np.cumsum(self.events) - self.events)[full])
        if not (earliest // window_ns < self.found_ns[full] // window_ns).any():
            return None
        found: NDArray[np.bool_] = stamps_ns // window_ns < np.repeat(self.found_ns, self.events) // window_ns
        return found


def table(batches: Sequence[LoggedBatch]) -> pa.Table:
    """What the engine needs of the events' columns, in the order of the log."""
    rows = [logged.batch.rows for logged in batches if logged.batch.rows.num_rows]
    return pa.Table.from_batches(rows, ARROW_SCHEMA).select(_COLUMNS)


def signs(batches: Sequence[LoggedBatch]) -> NDArray[np.int64] | None:
    """The sign of each event of `table`, None where no batch takes events back."""
    each = [-1 if logged.batch.producer.startswith(RETRACTION) else 1 for logged in batches]
    if min(each, default=1) > 0:
        return None
    return np.repeat(np.array(each, np.int64), [logged.batch.rows.num_rows for logged in batches])


def arrivals(events: pa.Table, series: NDArray[np.int32], signs: NDArray[np.int64] | None = None) -> Arrivals:
    """The events of `table` with their series and `signs`."""
    counts = tuple(_array(events[name]) for name in COUNTS[1:])
    amounts = tuple(_array(events[name]) for name in AMOUNTS)
    return Arrivals(_array(events["timestamp"].cast(pa.int64())), series, counts, amounts, signs)


def watermarks(
    first_ns: int, batches: Sequence[LoggedBatch], stamps_ns: NDArray[np.int64], lateness_ns: int
) -> Watermarks:
    """How batches move the watermark: a function of the log alone, whatever a step takes of it.

    A batch received at R finds it at R minus twice the lateness, or further; then its latest event moves it to that
    minus the lateness. An event counts as no later than R: a producer whose clock runs ahead must not close windows
    that others are still filling. The first batch of a log finds 0, so nothing in it is late.
    """
    found, counts, place, after = [], [], 0, first_ns
    for logged in batches:
        count = logged.batch.rows.num_rows
        by_clock = logged.received_ns - 2 * lateness_ns
        before = max(after, by_clock) if after else 0
        latest = int(stamps_ns[place : place + count].max()) if count else 0
        after = max(before, by_clock, min(latest, logged.received_ns) - lateness_ns)
        found.append(before)
        counts.append(count)
        place += count
    return Watermarks(np.array(found, np.int64), np.array(counts, np.int64), after)


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    values: NDArray[Any] = column.to_numpy()
    return values
