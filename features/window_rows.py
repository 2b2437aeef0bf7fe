"""Rows of windows as arrays: whole numbers and amounts per (start, series), summed exactly and kept in few bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from features.windows import KEYS, SCHEMA

COUNTS = ("events", "cpu_cycles", "memory_bytes", "network_bytes", "disk_bytes")
"""Whole numbers of a window, in the order of `WindowRows.counts`."""

AMOUNTS = ("execution_time_ms", "units")
"""Amounts of a window, in the order of `WindowRows.amounts`."""

GRID = 1e6
"""Amounts are whole millionths, so that below 2^53 of them their sum is exact, whatever the order of the addends."""

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True, slots=True)
class WindowRows:
    """Sums of n windows of one length, one row a (start, series).

    ``starts_ns`` int64 (n,), ``series`` int32 (n,) numbers of a table of series, ``counts`` int64 (5, n) in the order
    of `COUNTS`, ``amounts`` float64 (2, n) in the order of `AMOUNTS`, in whole millionths.
    """

    starts_ns: NDArray[np.int64]
    series: NDArray[np.int32]
    counts: NDArray[np.int64]
    amounts: NDArray[np.float64]

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        shape = (len(COUNTS), 0)
        return cls(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(shape, np.int64), np.empty((len(AMOUNTS), 0)))

    @classmethod
    def of(cls, frame: pl.DataFrame, series: NDArray[np.int32]) -> Self:
        """Rows of a frame with the columns of `features.windows.SCHEMA`, and the number of each row's series."""
        counts = np.stack([frame[name].to_numpy() for name in COUNTS])
        amounts = np.rint(np.stack([frame[name].to_numpy() for name in AMOUNTS]) * GRID)
        return cls(frame["window_start"].cast(pl.Int64).to_numpy(), series, counts, amounts)

    def __len__(self) -> int:
        return len(self.starts_ns)

    def take(self, which: NDArray[Any] | slice) -> WindowRows:
        """The rows of a mask, of positions or of a span."""
        return WindowRows(self.starts_ns[which], self.series[which], self.counts[:, which], self.amounts[:, which])

    def used(self) -> WindowRows:
        """Without the rows of windows whose events were all taken back, as if there had been none."""
        is_used = self.counts[0] != 0
        if not is_used.all():
            is_used |= (self.counts != 0).any(axis=0) | (self.amounts != 0).any(axis=0)
        return self if is_used.all() else self.take(is_used)

    def coarser(self, window_ns: int) -> WindowRows:
        """Sums in windows of a length that is a multiple of these rows'."""
        return _grouped(self.starts_ns - self.starts_ns % window_ns, window_ns, self.series, self.counts, self.amounts)

    def frame(self, names: pl.DataFrame) -> pl.DataFrame:
        """Columns of `features.windows.SCHEMA`; row k of ``names`` holds the key (`KEYS`) of series k."""
        keys = names.select(pl.col(KEYS).gather(pl.Series(self.series)))
        columns = {name: self.counts[row] for row, name in enumerate(COUNTS)}
        columns |= {name: self.amounts[row] / GRID for row, name in enumerate(AMOUNTS)}
        start = pl.Series("window_start", self.starts_ns).cast(SCHEMA["window_start"])
        return pl.DataFrame([start, *keys.get_columns(), *(pl.Series(*column) for column in columns.items())])

    def encode(self) -> bytes:
        """The rows as one Arrow stream, lz4, each column as narrow as its values allow."""
        columns = {"start_ns": pa.array(self.starts_ns), "series": pa.array(self.series)}
        columns |= {name: _narrow(self.counts[row]) for row, name in enumerate(COUNTS)}
        columns |= {name: _narrow(self.amounts[row]) for row, name in enumerate(AMOUNTS)}
        batch = pa.RecordBatch.from_pydict(columns)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=_OPTIONS) as writer:
            writer.write_batch(batch)
        return bytes(sink.getvalue())

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """The rows that `encode` wrote."""
        batch = pa.ipc.open_stream(body).read_next_batch()
        counts = np.zeros((len(COUNTS), batch.num_rows), np.int64)
        amounts = np.zeros((len(AMOUNTS), batch.num_rows))
        for names, values in ((COUNTS, counts), (AMOUNTS, amounts)):
            for row, name in enumerate(names):
                if not pa.types.is_null(batch[name].type):
                    values[row] = batch[name].to_numpy()
        return cls(batch["start_ns"].to_numpy(), batch["series"].to_numpy(), counts, amounts)


def sum_events(
    starts_ns: NDArray[np.int64],
    window_ns: int,
    series: NDArray[np.int32],
    counts: Sequence[NDArray[np.int64]],
    amounts: Sequence[NDArray[np.float64]],
    signs: NDArray[np.int64] | None = None,
) -> WindowRows:
    """Windows of events: ``counts`` without the events' own, ``amounts`` as sent; all arrays of one length.

    ``starts_ns`` are the starts of each event's window, on a grid of ``window_ns``; ``signs`` has -1 for one that takes
    another back (None: there are none).
    """
    events = np.broadcast_to(np.int64(1), starts_ns.shape) if signs is None else signs
    return _grouped(starts_ns, window_ns, series, (events, *counts), [np.rint(values * GRID) for values in amounts])


def merged(parts: Iterable[WindowRows], window_ns: int) -> WindowRows:
    """The sum of parts that hold windows of one length, sorted by start and series."""
    kept = [part for part in parts if len(part)]
    if not kept:
        return WindowRows.empty()
    rows = joined(kept)
    return _grouped(rows.starts_ns, window_ns, rows.series, rows.counts, rows.amounts)


def joined(parts: Sequence[WindowRows]) -> WindowRows:
    """The rows of parts one after the other, without summing."""
    if len(parts) == 1:
        return parts[0]
    return WindowRows(
        np.concatenate([part.starts_ns for part in parts]),
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.counts for part in parts], axis=1),
        np.concatenate([part.amounts for part in parts], axis=1),
    )


def _narrow(values: NDArray[Any]) -> pa.Array:
    """Whole numbers >= 0 in 32 bits where they fit, and in none where all are zero; as they are with one below zero."""
    greatest = values.max(initial=0)
    if values.min(initial=0) < 0:
        return pa.array(values)
    if greatest == 0:
        return pa.nulls(len(values))
    return pa.array(values.astype(np.uint32) if greatest < 2**32 else values)


def _grouped(
    starts_ns: NDArray[np.int64],
    window_ns: int,
    series: NDArray[np.int32],
    counts: Sequence[NDArray[np.int64]] | NDArray[np.int64],
    amounts: Sequence[NDArray[np.float64]] | NDArray[np.float64],
) -> WindowRows:
    if not len(starts_ns):
        return WindowRows.empty()
    first, width = int(starts_ns.min()), int(series.max()) + 1
    key = (starts_ns - first) // window_ns
    key *= width
    key += series
    keys, place = _places(key, int(key.max()) + 1)
    whole = np.zeros((len(COUNTS), len(keys)), np.int64)
    for row, values in enumerate(counts):
        np.add.at(whole[row], place, values)
    part = np.zeros((len(AMOUNTS), len(keys)))
    for row, amount in enumerate(amounts):
        np.add.at(part[row], place, amount)
    return WindowRows(first + keys // width * window_ns, (keys % width).astype(np.int32), whole, part)


def _places(key: NDArray[np.int64], bound: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct keys in rising order, and the place of each key among them.

    A table of all possible keys costs a tenth of sorting, where there are not many more keys than rows.
    """
    if bound > max(1 << 16, 16 * len(key)):
        keys, place = np.unique(key, return_inverse=True)
        return keys, place
    seen = np.zeros(bound, np.bool_)
    seen[key] = True
    keys = np.flatnonzero(seen)
    places = np.empty(bound, np.int64)
    places[keys] = np.arange(len(keys))
    return keys, places[key]
