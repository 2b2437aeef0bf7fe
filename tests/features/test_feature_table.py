"""Features that a model is trained on are those that it is asked with: batch and live agree bit for bit."""

from __future__ import annotations

import itertools
from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.demand import system_demand
from features.live_table import LiveFeatures
from features.table import FeatureSettings, feature_table
from features.windows import aggregate
from tests.features.events import NOW_S, batch, event

MINUTE_NS = 60_000_000_000
SETTINGS = FeatureSettings(MINUTE_NS, (1, 3), (2, 9), "Europe/Berlin", (date(2026, 12, 25),))

STREAMS = st.lists(
    st.builds(
        event,
        st.integers(-1_200_000, 0).map(lambda thousandths: thousandths / 1e3),
        st.sampled_from(["ada", "bo", "cem"]),
        st.sampled_from(["checkout", "search"]),
        cpuCycles=st.integers(0, 2**45),
        executionTimeMs=st.floats(0, 1e5),
        kind=st.sampled_from(["CPU_INSTRUCTION", "WAIT"]),
        units=st.floats(0, 1e3),
        meter=st.sampled_from(["", "executions", "tokens"]),
    ),
    min_size=1,
    max_size=30,
)


def _windows(events: list[dict[str, object]]) -> pl.DataFrame:
    return aggregate(pl.DataFrame(pl.from_arrow(batch(events).rows)), MINUTE_NS)


@settings(max_examples=15)
@given(events=STREAMS, cuts=st.lists(st.integers(0, 20), max_size=5))
def test_live_features_are_those_of_training(events: list[dict[str, object]], cuts: list[int]) -> None:
    """Rows from a series' first use on are equal, bit for bit, whatever windows closed together."""
    windows = _windows(events)
    starts = windows["window_start"].unique().sort()
    live, found = LiveFeatures(SETTINGS), []
    edges = sorted({0, len(starts), *(cut for cut in cuts if cut < len(starts))})
    for begin, end in itertools.pairwise(edges):
        found.append(live.closed(windows.filter(pl.col("window_start").is_in(starts[begin:end].implode()))))
    batch_table = feature_table(windows, SETTINGS)
    used = (pl.col("value") > 0).cum_max().over("series")
    known = batch_table.filter(used).select(pl.concat(found).columns)
    assert_frame_equal(pl.concat(found).sort("series", "timestamp"), known, check_exact=True)


def test_the_future_changes_no_row() -> None:
    """What is used from a window on leaves the features of that window as they were, but for its own value."""
    early = [event(-60.0 * minute, cpuCycles=minute * 7 % 5) for minute in range(10, 30)]
    late = [event(-60.0 * minute, cpuCycles=9_999) for minute in range(1, 10)]
    without = [event(-60.0 * minute, cpuCycles=1) for minute in range(1, 10)]
    tables = [feature_table(_windows(early + more), SETTINGS).drop("value") for more in (late, without)]
    edge = pl.lit(NOW_S - 9 * 60.0).mul(1e9).cast(pl.Int64)
    one, two = (table.filter(pl.col("timestamp").cast(pl.Int64) <= edge) for table in tables)
    assert_frame_equal(one, two)


def test_demand_is_of_all_users_and_knows_silence() -> None:
    """Events and busy seconds a second over everyone; a window without any is a zero, not a gap."""
    events = [event(-180.0, "ada", executionTimeMs=30_000.0), event(-180.0, "bo"), event(-60.0, "bo")]
    found = system_demand(_windows(events), MINUTE_NS)
    assert found["system_events_per_s"].to_list() == [2 / 60, 0.0, 1 / 60]
    assert found["system_load"].to_list() == [0.5, 0.0, 0.0]
    assert found["system_users"].to_list() == [2.0, 0.0, 1.0]


def test_a_window_is_taken_in_once() -> None:
    """A window that was taken in before, or comes too late, is refused instead of shifting the past."""
    windows = _windows([event(-60.0, cpuCycles=1)])
    live = LiveFeatures(SETTINGS)
    live.closed(windows)
    with pytest.raises(ValueError, match="each once"):
        live.closed(windows)
