"""The engine's one pure function: a batch of events in; windows to add, windows that closed, and baselines out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from features.contracts import LoggedBatch
from features.window_rows import WindowRows, joined, merged
from serving.engine.arrivals import NANOSECONDS, Arrivals, Watermarks, arrivals, signs, table, watermarks
from serving.engine.baselines import Baselines, main_amounts
from serving.engine.state import EngineState
from serving.engine.store import Checkpoint, WindowWrite

_MOST_PARTS = 64


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

    ``checkpoint`` is all that a store must write for it; ``moved`` tells whether any window's time has passed.
    """

    closed: Mapping[int, WindowRows]
    revised: Mapping[int, WindowRows]
    checkpoint: Checkpoint
    events: int
    moved: bool


def step(
    state: EngineState, batches: Sequence[LoggedBatch], rules: Rules, clock_ns: int = 0
) -> tuple[EngineState, Outputs]:
    """Take in batches: sums for every window length, the watermark moved on, windows closed behind it.

    What is late depends on the log alone, not on how much of it a step takes: see `watermarks`. ``clock_ns`` is the
    time where the log was read to its end, so that windows close when nobody sends; 0 where it was not. Sums are
    additive: events that come later than allowed revise windows that were closed before them.
    """
    events = table(batches)
    series, index, new = state.series.number(events)
    arrived = arrivals(events, series, signs(batches))
    marks = watermarks(state.watermark_ns, batches, arrived.stamps_ns, rules.lateness_ns)
    watermark = max(marks.after_ns, clock_ns - 2 * rules.lateness_ns) if marks.after_ns else 0
    sums = _sums(arrived, marks, rules)
    until = {window_s: watermark - watermark % (window_s * NANOSECONDS) for window_s in rules.windows_s}
    writes, closed, revised, opened = [], {}, {}, {}
    for window_s, (added, revised[window_s]) in sums.items():
        closes = until[window_s] > state.closed_until_ns.get(window_s, 0)
        parts = (*state.open_windows.get(window_s, ()), added)
        opened[window_s], closed[window_s], write = _closed(window_s, parts, until[window_s] if closes else 0)
        gone = merged([closed[window_s], revised[window_s]], window_s * NANOSECONDS)
        writes.append(replace(write, closed=_by_shard(gone, index.shards)))
    baselines, changed = _baselines(replace(state, series=index), closed[rules.baseline_window_s], rules)
    following = EngineState(
        offset=batches[-1].offset if batches else state.offset,
        watermark_ns=watermark,
        closed_until_ns=until,
        late_events=state.late_events + int(np.abs(revised[rules.windows_s[0]].counts[0]).sum()),
        series=index,
        open_windows=opened,
        baselines=baselines,
    )
    checkpoint = Checkpoint(following.document(), new, writes, changed)
    moved = any(until[window_s] > state.closed_until_ns.get(window_s, 0) for window_s in rules.windows_s)
    return following, Outputs(closed, revised, checkpoint, len(series), moved)


def _sums(arrived: Arrivals, marks: Watermarks, rules: Rules) -> dict[int, tuple[WindowRows, WindowRows]]:
    """By window length: sums of the events that came in time, and of those whose window had closed before them."""
    finest, *longer = rules.windows_s
    mask = marks.late(arrived.stamps_ns, finest)
    in_time = (arrived if mask is None else arrived.take(~mask)).sums(finest)
    found = {finest: (in_time, WindowRows.empty())}
    for window_s in longer:
        nearest = max(known for known in found if window_s % known == 0)
        found[window_s] = (found[nearest][0].coarser(window_s * NANOSECONDS), WindowRows.empty())
    if mask is None:
        return found
    late = arrived.take(mask)  # not all of them are late for the longer windows
    for window_s, (sums, _) in found.items():
        mine = marks.late(arrived.stamps_ns, window_s)
        after = np.zeros(len(late), np.bool_) if mine is None else mine[mask]
        more = merged([sums, late.take(~after).sums(window_s)], window_s * NANOSECONDS)
        found[window_s] = (more, late.take(after).sums(window_s))
    return found


def _closed(
    window_s: int, parts: tuple[WindowRows, ...], until_ns: int
) -> tuple[tuple[WindowRows, ...], WindowRows, WindowWrite]:
    """Parts of windows that stay open, windows that closed, and what a store must write of the open ones.

    The last part is what this step adds. ``until_ns`` is 0 where none closes; then parts only gather, until there are
    too many of them.
    """
    if not until_ns and len(parts) <= _MOST_PARTS:
        kept = parts if len(parts[-1]) else parts[:-1]
        return kept, WindowRows.empty(), WindowWrite(window_s, parts[-1], False, {})
    total = _total(parts, window_s)
    edge = int(np.searchsorted(total.starts_ns, until_ns))
    closed, rest = total.take(slice(edge)).used(), total.take(slice(edge, None))
    return ((rest,) if len(rest) else ()), closed, WindowWrite(window_s, rest, True, {})


def _total(parts: tuple[WindowRows, ...], window_s: int) -> WindowRows:
    """The sum of parts; what is added beyond all windows that were open needs no merging, and most of it is."""
    *before, added = parts
    last_ns = max((int(part.starts_ns[-1]) for part in before if len(part)), default=0)
    edge = int(np.searchsorted(added.starts_ns, last_ns, side="right"))
    return joined([merged([*before, added.take(slice(edge))], window_s * NANOSECONDS), added.take(slice(edge, None))])


def _by_shard(rows: WindowRows, shards: NDArray[np.int16]) -> dict[int, WindowRows]:
    mine = shards[rows.series]
    order = np.argsort(mine, kind="stable")
    by_shard = rows.take(order)
    found, first = np.unique(mine[order], return_index=True)
    edges = [*first.tolist(), len(rows)]
    return {shard: by_shard.take(slice(edges[at], edges[at + 1])) for at, shard in enumerate(found.tolist())}


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
