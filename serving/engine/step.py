"""The engine's one pure function: a batch of events in; windows to add, windows that closed, and baselines out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from features.contracts import LoggedBatch
from features.window_rows import AMOUNTS, COUNTS, WindowRows, merged, sum_events
from features.windows import KEYS
from serving.engine.baselines import Baselines, main_amounts
from serving.engine.state import EngineState
from serving.engine.store import Checkpoint, NewSeries, WindowWrite

NANOSECONDS = 1_000_000_000
_MOST_PARTS = 64
_COLUMNS = ["timestamp", *KEYS, *COUNTS[1:], *AMOUNTS]


@dataclass(frozen=True, slots=True)
class Rules:
    """How windows are cut: lengths in seconds that rise, each a multiple of the first, and the lateness allowed.

    Baselines learn the windows of one of the lengths.
    """

    windows_s: tuple[int, ...]
    lateness_ns: int
    baseline_window_s: int

    def __post_init__(self) -> None:
        odd = [length for length in self.windows_s if length % self.windows_s[0] or length <= 0]
        if odd:
            raise ValueError(f"a window of {odd[0]} s is no multiple of the shortest, {self.windows_s[0]} s")
        if self.baseline_window_s not in self.windows_s:
            kept = ", ".join(map(str, self.windows_s))
            raise ValueError(f"baselines of windows of {self.baseline_window_s} s, which are not kept; one of {kept}")


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a step found: by window length, windows that closed (whole) and additions to windows closed before.

    ``checkpoint`` is all that a store must write for it.
    """

    closed: Mapping[int, WindowRows]
    revised: Mapping[int, WindowRows]
    checkpoint: Checkpoint
    events: int
    moved: bool

    def frame(self, state: EngineState, window_s: int) -> pl.DataFrame:
        """Closed windows of one length in the columns of `features.windows.SCHEMA`; ``state`` as after the step."""
        return self.closed[window_s].frame(state.series.names)


def step(state: EngineState, batches: Sequence[LoggedBatch], rules: Rules, now_ns: int) -> tuple[EngineState, Outputs]:
    """Take in batches: sums for every window length, the watermark moved on, windows closed behind it.

    The watermark follows the latest event minus the lateness allowed, and the clock minus twice that, so that windows
    close when nobody sends. Sums are additive: events that come later than allowed revise windows closed before.
    """
    base, latest_ns, following, new = _take_in(state, batches, rules)
    # A producer whose clock runs ahead must not close windows that others are still filling.
    watermark = max(state.watermark_ns, min(latest_ns, now_ns) - rules.lateness_ns, now_ns - 2 * rules.lateness_ns)
    until = {window_s: watermark - watermark % (window_s * NANOSECONDS) for window_s in rules.windows_s}
    writes, closed, revised, opened = [], {}, {}, {}
    for window_s in rules.windows_s:
        sums = base.coarser(window_s * NANOSECONDS) if window_s != rules.windows_s[0] else base
        before_ns = state.closed_until_ns.get(window_s, 0)
        parts = state.open_windows.get(window_s, ())
        late = sums.starts_ns < before_ns
        revised[window_s], on_time = (sums.take(late), sums.take(~late)) if late.any() else (WindowRows.empty(), sums)
        opened[window_s], closed[window_s], write = _closed(window_s, parts, on_time, before_ns, until[window_s])
        gone = merged([closed[window_s], revised[window_s]], window_s * NANOSECONDS)
        writes.append(replace(write, closed=_by_shard(gone, following.series.shards)))
    finest = rules.windows_s[0]
    baselines, changed = _baselines(following, closed[rules.baseline_window_s], rules)
    following = replace(
        following,
        watermark_ns=watermark,
        closed_until_ns=until,
        late_events=state.late_events + int(revised[finest].counts[0].sum()),
        open_windows=opened,
        baselines=baselines,
    )
    checkpoint = Checkpoint(following.document(), new, writes, changed)
    moved = any(until[window_s] > state.closed_until_ns.get(window_s, 0) for window_s in rules.windows_s)
    return following, Outputs(closed, revised, checkpoint, int(base.counts[0].sum()), moved)


def _take_in(
    state: EngineState, batches: Sequence[LoggedBatch], rules: Rules
) -> tuple[WindowRows, int, EngineState, list[NewSeries]]:
    """Sums of the events in the shortest windows, the latest event's time, and the state with their series."""
    offset = batches[-1].offset if batches else state.offset
    rows = [logged.batch.rows for logged in batches if logged.batch.rows.num_rows]
    if not rows:
        return WindowRows.empty(), 0, replace(state, offset=offset), []
    events = pa.Table.from_batches(rows).select(_COLUMNS)
    series, index, new = state.series.number(events)
    finest_ns = rules.windows_s[0] * NANOSECONDS
    stamps = _array(events["timestamp"].cast(pa.int64()))
    sums = sum_events(
        stamps - stamps % finest_ns,
        finest_ns,
        series,
        [_array(events[name]) for name in COUNTS[1:]],
        [_array(events[name]) for name in AMOUNTS],
    )
    return sums, int(stamps.max()), replace(state, offset=offset, series=index), new


def _closed(
    window_s: int, parts: tuple[WindowRows, ...], added: WindowRows, before_ns: int, until_ns: int
) -> tuple[tuple[WindowRows, ...], WindowRows, WindowWrite]:
    """Parts of windows that stay open, windows that closed, and what a store must write of the open ones."""
    parts = (*parts, added) if len(added) else parts
    if until_ns <= before_ns and len(parts) <= _MOST_PARTS:
        return parts, WindowRows.empty(), WindowWrite(window_s, added, False, {})
    total = merged(parts, window_s * NANOSECONDS)
    edge = int(np.searchsorted(total.starts_ns, until_ns))
    closed, rest = total.take(slice(edge)), total.take(slice(edge, None))
    return ((rest,) if len(rest) else ()), closed, WindowWrite(window_s, rest, True, {})


def _by_shard(rows: WindowRows, shards: NDArray[np.int16]) -> dict[int, WindowRows]:
    mine = shards[rows.series]
    return {shard: rows.take(mine == shard) for shard in np.unique(mine).tolist()}


def _baselines(state: EngineState, closed: WindowRows, rules: Rules) -> tuple[Baselines, dict[int, bytes]]:
    """Baselines with closed windows learnt, and the shards that changed, encoded."""
    if not len(closed):
        return state.baselines, {}
    baselines = state.baselines.learnt(closed, rules.baseline_window_s, main_amounts(state.series.names))
    changed = {}
    shards = state.series.shards
    for shard in np.unique(shards[closed.series]).tolist():
        known = np.flatnonzero((shards == shard) & (baselines.windows > 0))
        changed[shard] = baselines.encode(known)
    return baselines, changed


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    values: NDArray[Any] = column.to_numpy()
    return values
