"""Baselines of every series in arrays: mean and variance, the last values for robust quantiles, rate and load.

A series is judged by its main amount: what its micro-operation is about (`MAIN_RESOURCE`), or its units. It learns a
window when that closes, and windows without the series are not learnt as zeros; rate and load do sink in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from features.window_rows import AMOUNTS, COUNTS, GRID, WindowRows
from serving.alerts.intensity import MAIN_RESOURCE

RECENT = 64
"""So many last values give the quantiles: exact ones, which a few outliers cannot move."""

HALF_LIFE_S = 600.0
"""Rate and load halve in so long a silence."""

_NUMBERS = ("windows", "mean", "squares", "rate_per_s", "load", "learnt_ns")
_AMOUNT_ROW = {name: row for row, name in enumerate((*COUNTS, *AMOUNTS))}


@dataclass(frozen=True, slots=True)
class Baselines:
    """Arrays by series number, never written to: `learnt` makes new ones.

    ``windows`` how many were learnt; ``mean`` and ``squares`` (sum of squared deviations) of their main amounts, by
    Welford's recurrence (1962); ``rate_per_s`` events a second and ``load`` seconds of execution a second, both
    exponentially weighted in event time; ``learnt_ns`` end of the last window; ``recent`` (series, `RECENT`).
    """

    windows: NDArray[np.int64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    rate_per_s: NDArray[np.float64]
    load: NDArray[np.float64]
    learnt_ns: NDArray[np.int64]
    recent: NDArray[np.float32]

    @classmethod
    def empty(cls, size: int = 0) -> Baselines:
        """Baselines of so many series that have learnt nothing."""
        mean, squares, rate_per_s, load = (np.zeros(size) for _ in range(4))
        recent = np.full((size, RECENT), np.nan, np.float32)
        return cls(np.zeros(size, np.int64), mean, squares, rate_per_s, load, np.zeros(size, np.int64), recent)

    def __len__(self) -> int:
        return len(self.windows)

    def learnt(self, closed: WindowRows, window_s: int, main: NDArray[np.int8]) -> Baselines:
        """With closed windows of one length taken in, in their order; ``main`` as of `main_amounts`."""
        following = self._copied(max(len(self), len(main)))
        edges = np.flatnonzero(np.diff(closed.starts_ns)) + 1
        for begin, end in zip([0, *edges.tolist()], [*edges.tolist(), len(closed)], strict=True):
            following._take_in(closed, slice(begin, end), window_s, main)
        return following

    def _take_in(self, closed: WindowRows, window: slice, window_s: int, main: NDArray[np.int8]) -> None:
        """Take in one window, in place: only for arrays that nobody has seen yet."""
        series = closed.series[window]
        if not len(series):
            return
        values = _main_values(closed, window, main[series])
        count = self.windows[series]
        mean = self.mean[series]
        away = values - mean
        following = mean + away / (count + 1)
        self.mean[series] = following
        self.squares[series] += away * (values - following)
        self.recent[series, count % RECENT] = values
        self.windows[series] = count + 1
        end_ns = int(closed.starts_ns[window.start]) + window_s * 1_000_000_000
        steps = (end_ns - self.learnt_ns[series]) / (window_s * 1e9)
        keep = np.exp2(-window_s / HALF_LIFE_S)
        left = np.exp2(-window_s / HALF_LIFE_S * steps)
        new = np.where(count, 1 - keep, 1.0)
        for kept, now in (
            (self.rate_per_s, closed.counts[0, window] / window_s),
            (self.load, closed.amounts[0, window] / (GRID * 1e3 * window_s)),
        ):
            kept[series] = kept[series] * left + new * now
        self.learnt_ns[series] = end_ns

    def _copied(self, size: int) -> Baselines:
        grown = Baselines.empty(size)
        for name in (*_NUMBERS, "recent"):
            getattr(grown, name)[: len(self)] = getattr(self, name)
        return grown

    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation of each series' main amount; 0 before the second window."""
        variance: NDArray[np.float64] = self.squares / np.maximum(self.windows - 1, 1)
        return np.sqrt(variance)

    def quantiles(self, levels: Sequence[float], which: NDArray[np.int64]) -> NDArray[np.float64]:
        """Quantiles of the last `RECENT` main amounts of some series, shape (series, levels); NaN without any."""
        ordered = np.sort(self.recent[which].astype(np.float64), axis=1)  # what is not filled yet stands last
        filled = np.minimum(self.windows[which], RECENT)
        place = np.maximum(filled - 1, 0)[:, None] * np.asarray(levels, np.float64)
        below = np.floor(place).astype(np.int64)
        low = np.take_along_axis(ordered, below, axis=1)
        high = np.take_along_axis(ordered, np.ceil(place).astype(np.int64), axis=1)
        found: NDArray[np.float64] = low + (high - low) * (place - below)
        return found

    def encode(self, which: NDArray[np.int64]) -> bytes:
        """Baselines of some series as one Arrow message."""
        columns = {"series": pa.array(which)}
        columns |= {name: pa.array(getattr(self, name)[which]) for name in _NUMBERS}
        columns["recent"] = pa.FixedSizeListArray.from_arrays(pa.array(self.recent[which].ravel()), RECENT)
        batch = pa.RecordBatch.from_pydict(columns)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
            writer.write_batch(batch)
        return bytes(sink.getvalue())

    def decoded(self, body: bytes) -> Baselines:
        """With what `encode` wrote put in their places; series beyond these are left out."""
        batch = pa.ipc.open_stream(body).read_next_batch()
        series = batch["series"].to_numpy()
        known = series < len(self)
        following = self._copied(len(self))
        for name in _NUMBERS:
            getattr(following, name)[series[known]] = batch[name].to_numpy()[known]
        recent = batch["recent"].flatten().to_numpy().reshape(-1, RECENT)
        following.recent[series[known]] = recent[known]
        return following


def baseline_table(baselines: Baselines, names: pl.DataFrame, which: NDArray[np.bool_]) -> pl.DataFrame:
    """The baselines of some series (a mask over ``names``) as rows: key, resource, statistics, rate and load."""
    known = np.flatnonzero(which[: len(baselines)] & (baselines.windows > 0))
    resources = np.array([*COUNTS, *AMOUNTS])[main_amounts(names)[known]]
    quantiles = baselines.quantiles((0.1, 0.5, 0.9), known)
    return names[known].with_columns(
        pl.Series("resource", resources),
        pl.Series("windows", baselines.windows[known]),
        pl.Series("mean", baselines.mean[known]),
        pl.Series("standard_deviation", baselines.deviation()[known]),
        *(pl.Series(f"p{level}", quantiles[:, place]) for place, level in enumerate((10, 50, 90))),
        pl.Series("rate_per_s", baselines.rate_per_s[known]),
        pl.Series("load", baselines.load[known]),
        pl.Series("learnt_until", baselines.learnt_ns[known]).cast(pl.Datetime("ns", "UTC")),
    )


def main_amounts(names: pl.DataFrame) -> NDArray[np.int8]:
    """Which amount each series is judged by: its place in `COUNTS` followed by `AMOUNTS`."""
    rows = {kind: _AMOUNT_ROW[resource] for kind, resource in MAIN_RESOURCE.items()}
    kinds = names["micro_operation_type"].replace_strict(rows, default=_AMOUNT_ROW["units"], return_dtype=pl.Int8)
    return kinds.to_numpy()


def _main_values(closed: WindowRows, window: slice, main: NDArray[np.int8]) -> NDArray[np.float64]:
    columns = np.concatenate([closed.counts[:, window], closed.amounts[:, window] / GRID])
    return columns[main, np.arange(columns.shape[1])]
