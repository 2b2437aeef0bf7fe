"""The step is a function of the log: how it is cut, ordered, resumed or sharded changes nothing that it finds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.contracts import LoggedBatch
from features.window_rows import WindowRows, merged
from features.windows import SCHEMA, aggregate, merge
from serving.engine import series_index
from serving.engine.baselines import RECENT, Baselines
from serving.engine.state import EngineState
from serving.engine.step import Outputs, Rules, step
from serving.engine.store import Kept, NewSeries
from tests.features.events import NOW_S, batch, event

SECOND = 1_000_000_000
LATENESS_S = 3.0
RULES = Rules((1, 5, 60), round(LATENESS_S * SECOND), 5)
KINDS = ("CPU_INSTRUCTION", "NETWORK_SEND", "CUSTOM")
END_NS = round((NOW_S + 1_000) * SECOND)

ARRIVING = st.lists(
    st.builds(
        lambda at, delay, user, kind, cycles, spent_ms: (at, delay, user, kind, cycles, spent_ms),
        st.integers(-200_000, 0).map(lambda thousandths: thousandths / 1e3),
        st.integers(0, 2_900).map(lambda thousandths: thousandths / 1e3),
        st.sampled_from(["ada", "bo", "cem", "dag"]),
        st.sampled_from(KINDS),
        st.integers(0, 2**40),
        st.floats(0, 1e5),
    ),
    min_size=1,
    max_size=60,
)
CUTS = st.lists(st.integers(0, 60), max_size=8)
Arriving = tuple[float, float, str, str, int, float]


@dataclass
class Found:
    """All that a run over a log found, by names instead of numbers."""

    closed: dict[int, list[pl.DataFrame]]
    totals: dict[int, pl.DataFrame]
    baselines: pl.DataFrame
    late_events: int

    def same_as(self, other: Found) -> None:
        """Bit for bit."""
        for window_s in RULES.windows_s:
            assert_frame_equal(self.totals[window_s], other.totals[window_s])
            assert_frame_equal(pl.concat(self.closed[window_s]), pl.concat(other.closed[window_s]))
        assert_frame_equal(self.baselines, other.baselines)
        assert self.late_events == other.late_events


def log_of(arriving: Iterable[Arriving], cuts: Iterable[int]) -> list[LoggedBatch]:
    """Batches of events in the order of their arrival, each received when its first event arrived."""
    ordered = sorted(arriving, key=lambda one: (one[0] + one[1], one))
    edges = sorted({0, len(ordered), *(cut for cut in cuts if cut < len(ordered))})
    batches = []
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        events = [
            event(at, user, kind=kind, cpuCycles=cycles, executionTimeMs=spent_ms, networkBytes=cycles // 3)
            | ({"meter": "tokens", "units": spent_ms / 7} if kind == "CUSTOM" else {})
            for at, _, user, kind, cycles, spent_ms in ordered[start:end]
        ]
        received_ns = round((NOW_S + ordered[start][0] + ordered[start][1]) * SECOND)
        batches.append(LoggedBatch(number + 1, received_ns, batch(events, number)))
    return batches


def run(batches: list[LoggedBatch], cuts: Iterable[int], restarts: bool = False) -> Found:
    """Steps over the log that end at the cuts, and one when the clock has moved on."""
    state, found = EngineState(), Found({window_s: [] for window_s in RULES.windows_s}, {}, pl.DataFrame(), 0)
    edges = sorted({0, len(batches), *(cut for cut in cuts if cut < len(batches))})
    parts: dict[int, list[WindowRows]] = {window_s: [] for window_s in RULES.windows_s}
    for start, end in [*itertools.pairwise(edges), (len(batches), len(batches))]:
        clock_ns = END_NS if start == len(batches) else 0
        following, outputs = step(state, batches[start:end], RULES, clock_ns)
        _collect(found, parts, following, outputs)
        state = _restarted(following, outputs, state) if restarts else following
    for window_s, rows in parts.items():
        assert not state.open_windows.get(window_s)
        found.totals[window_s] = _sorted(merged(rows, window_s * SECOND).frame(state.series.names))
    found.baselines = _named(state)
    found.late_events = state.late_events
    return found


def _collect(found: Found, parts: dict[int, list[WindowRows]], state: EngineState, outputs: Outputs) -> None:
    for window_s in RULES.windows_s:
        found.closed[window_s].append(_sorted(outputs.closed[window_s].frame(state.series.names)))
        parts[window_s] += [outputs.closed[window_s], outputs.revised[window_s]]


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort(list(SCHEMA)[:5])


def _named(state: EngineState) -> pl.DataFrame:
    known = state.baselines
    columns = {name: getattr(known, name) for name in ("windows", "mean", "squares", "rate_per_s", "load", "learnt_ns")}
    quantiles = {
        f"q{place}": values for place, values in enumerate(known.quantiles((0.1, 0.5, 0.9), np.arange(len(known))).T)
    }
    frame = pl.concat([state.series.names[: len(known)], pl.DataFrame(columns | quantiles)], how="horizontal")
    return frame.filter(pl.col("windows") > 0).sort(state.series.names.columns)


def _restarted(state: EngineState, outputs: Outputs, before: EngineState) -> EngineState:
    """The state as it comes back from what a store keeps of it."""
    numbers = state.series.numbers.items()
    series = [NewSeries(number, int(state.series.shards[number]), key) for key, number in numbers]
    opened = {
        window_s: [WindowRows.decode(part.encode()) for part in parts] for window_s, parts in state.open_windows.items()
    }
    known = np.flatnonzero(state.baselines.windows > 0)
    assert set(outputs.checkpoint.baselines) or np.array_equal(before.baselines.windows, state.baselines.windows)
    return EngineState.of(Kept(state.document(), len(state.series), series, opened, {0: state.baselines.encode(known)}))


@settings(max_examples=40)
@given(arriving=ARRIVING, cuts=CUTS, first=CUTS, second=CUTS)
def test_a_log_gives_the_same_however_it_is_read(
    arriving: list[Arriving], cuts: list[int], first: list[int], second: list[int]
) -> None:
    """Closed windows, baselines and late events do not follow how many batches a step takes, nor restarts between."""
    batches = log_of(arriving, cuts)
    run(batches, first).same_as(run(batches, second, restarts=True))


@settings(max_examples=40)
@given(arriving=ARRIVING, cuts=CUTS, other=CUTS, data=st.data())
def test_batches_and_order_inside_the_lateness_do_not_matter(
    arriving: list[Arriving], cuts: list[int], other: list[int], data: st.DataObject
) -> None:
    """Events that are late by less than the lateness allowed give the same in any order and in any batches."""
    delays = data.draw(st.lists(st.integers(0, 2_900), min_size=len(arriving), max_size=len(arriving)))
    moved = [(one[0], delay / 1e3, *one[2:]) for one, delay in zip(arriving, delays, strict=True)]
    found, again = run(log_of(arriving, cuts), []), run(log_of(moved, other), [])
    assert found.late_events == 0
    found.same_as(again)


@settings(max_examples=20)
@given(arriving=ARRIVING, cuts=CUTS, shards=st.integers(1, 64))
def test_the_number_of_shards_does_not_matter(arriving: list[Arriving], cuts: list[int], shards: int) -> None:
    """Shards say where rows are kept, not what they are."""
    batches = log_of(arriving, cuts)
    before = run(batches, [1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series_index, "shard_of", lambda user: len(user) * 7 % shards)
        before.same_as(run(batches, [2], restarts=True))


@settings(max_examples=40)
@given(arriving=ARRIVING, cuts=CUTS, steps=CUTS, lags=st.lists(st.integers(0, 90), min_size=60, max_size=60))
def test_late_events_are_counted_and_correct_what_was_emitted(
    arriving: list[Arriving], cuts: list[int], steps: list[int], lags: list[int]
) -> None:
    """Closed windows and their revisions add up to the events, however late those came."""
    batches = log_of([(one[0], float(lag), *one[2:]) for one, lag in zip(arriving, lags, strict=False)], cuts)
    found = run(batches, steps)
    events = pl.concat([pl.DataFrame(pl.from_arrow(one.batch.rows)) for one in batches])
    for window_s in RULES.windows_s:
        assert_frame_equal(found.totals[window_s], _sorted(aggregate(events, window_s * SECOND)))
        closed = pl.concat(found.closed[window_s])
        assert closed.select(list(SCHEMA)[:5]).is_unique().all()
        assert merge(closed, window_s * SECOND)["events"].sum() <= events.height
    assert found.late_events == events.height - pl.concat(found.closed[1])["events"].sum()


@settings(max_examples=20)
@given(arriving=ARRIVING, cuts=CUTS)
def test_a_step_changes_nothing_it_is_given(arriving: list[Arriving], cuts: list[int]) -> None:
    """A step that is done again, as after a failed commit, finds the same."""
    batches = log_of(arriving, cuts)
    middle = len(batches) // 2
    state, _ = step(EngineState(), batches[:middle], RULES)
    kept = {name: getattr(state.baselines, name).copy() for name in Baselines.__slots__}
    first, outputs = step(state, batches[middle:], RULES, END_NS)
    second, again = step(state, batches[middle:], RULES, END_NS)
    assert outputs.checkpoint.document == again.checkpoint.document
    assert outputs.checkpoint.baselines == again.checkpoint.baselines
    for window_s in RULES.windows_s:
        assert_frame_equal(
            outputs.closed[window_s].frame(first.series.names), again.closed[window_s].frame(second.series.names)
        )
    assert all(np.array_equal(values, getattr(state.baselines, name), equal_nan=True) for name, values in kept.items())


def test_baselines_are_the_statistics_of_the_closed_windows() -> None:
    """Mean, deviation and quantiles equal those computed from the windows; quantiles from the last of them."""
    rng = np.random.default_rng(1)
    cycles = rng.integers(0, 10**9, RECENT + 40)
    arriving = [
        (-5.0 * (len(cycles) - place), 0.0, "ada", KINDS[0], int(value), 500.0) for place, value in enumerate(cycles)
    ]
    batches = log_of(arriving, [10, 50])
    state, _ = step(EngineState(), batches, RULES, END_NS)
    known = state.baselines
    assert known.windows.tolist() == [len(cycles)]
    assert known.mean[0] == pytest.approx(cycles.mean())
    assert known.deviation()[0] == pytest.approx(cycles.std(ddof=1))
    recent = cycles[-RECENT:].astype(np.float32)
    assert known.quantiles((0.1, 0.5), np.array([0]))[0] == pytest.approx(np.quantile(recent, (0.1, 0.5)))
    assert known.rate_per_s[0] == pytest.approx(1 / 5)
    assert known.load[0] == pytest.approx(0.1)


def test_silence_lets_rate_and_load_sink() -> None:
    """A series that is used again after ten minutes has half the rate that it had, and what it has now."""
    arriving = [(-700.0, 0.0, "ada", KINDS[0], 1, 500.0), (-100.0, 0.0, "ada", KINDS[0], 1, 0.0)]
    state, _ = step(EngineState(), log_of(arriving, [1]), RULES, END_NS)
    keep = 0.5 ** (5 / 600)
    assert state.baselines.load[0] == pytest.approx(0.1 / 2)
    assert state.baselines.rate_per_s[0] == pytest.approx(0.2 / 2 + (1 - keep) * 0.2)


def test_a_step_without_events_before_the_first_closes_nothing() -> None:
    """An idle platform does not close windows that nobody has begun."""
    state, outputs = step(EngineState(), [], RULES, END_NS)
    assert not outputs.moved
    assert not any(state.closed_until_ns.values())


@pytest.mark.parametrize(("windows_s", "baseline_s", "message"), [((10, 15), 10, "15 s"), ((1, 10), 5, "one of 1, 10")])
def test_rules_that_do_not_fit_are_refused(windows_s: Any, baseline_s: int, message: str) -> None:
    """Lengths that do not nest, and baselines of windows that are not kept, are refused with the value."""
    with pytest.raises(ValueError, match=message):
        Rules(windows_s, 0, baseline_s)
