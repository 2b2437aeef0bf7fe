"""The engine's one pure function: a batch of events in, sums to add and windows that closed out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from features.contracts import LoggedBatch
from features.windows import aggregate, empty, merge

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class EngineState:
    """What the engine remembers beside the sums: how far it read, the latest event, and what it closed.

    ``closed_until_ns`` maps a window's length in seconds to the end of its last closed window.
    """

    offset: int = 0
    watermark_ns: int = 0
    closed_until_ns: Mapping[int, int] = field(default_factory=dict)
    late_events: int = 0


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a step wants written: sums to add by window length, and the spans of windows that closed."""

    additions: Mapping[int, pl.DataFrame]
    closed: Mapping[int, tuple[int, int]]
    events: int


def step(
    state: EngineState, batches: list[LoggedBatch], windows_s: tuple[int, ...], lateness_ns: int, now_ns: int
) -> tuple[EngineState, Outputs]:
    """Take in batches: sums for every window length, the watermark moved on, windows closed behind it.

    The watermark follows the latest event minus the lateness allowed, and the clock minus twice that, so that windows
    close when nobody sends. Sums are additive: late events revise windows that were closed before. ``windows_s`` must
    rise, each a multiple of the first.
    """
    finest = min(windows_s) * NANOSECONDS
    events = _frame(batches)
    base = aggregate(events, finest) if events.height else empty()
    additions = {window_s: merge(base, window_s * NANOSECONDS) for window_s in windows_s} if base.height else {}
    latest = int(events["timestamp"].cast(pl.Int64).max() or 0) if events.height else 0  # type: ignore[arg-type]
    # A producer whose clock runs ahead must not close windows that others are still filling.
    watermark = max(state.watermark_ns, min(latest, now_ns) - lateness_ns, now_ns - 2 * lateness_ns)
    late = int((base["window_start"].cast(pl.Int64) + finest <= state.closed_until_ns.get(min(windows_s), 0)).sum())
    following = replace(
        state,
        offset=batches[-1].offset if batches else state.offset,
        watermark_ns=watermark,
        closed_until_ns={window_s: watermark - watermark % (window_s * NANOSECONDS) for window_s in windows_s},
        late_events=state.late_events + late,
    )
    closed = {
        window_s: (state.closed_until_ns.get(window_s, 0), until)
        for window_s, until in following.closed_until_ns.items()
        if until > state.closed_until_ns.get(window_s, 0)
    }
    return following, Outputs(additions, closed, events.height)


def _frame(batches: list[LoggedBatch]) -> pl.DataFrame:
    frames = [pl.from_arrow(logged.batch.rows) for logged in batches if logged.batch.rows.num_rows]
    return pl.concat(frames) if frames else pl.DataFrame()  # type: ignore[type-var,return-value]
