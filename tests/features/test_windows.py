"""Windows add up to the events, however those came in batches."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.windows import RESOURCES, aggregate, merge
from tests.features.events import batch, event

EVENTS = st.lists(
    st.builds(
        event,
        st.floats(-500, 0),
        st.sampled_from(["ada", "bo"]),
        st.sampled_from(["checkout", "search"]),
        cpuCycles=st.integers(0, 2**40),
        executionTimeMs=st.floats(0, 1e5),
        kind=st.sampled_from(["CPU_INSTRUCTION", "WAIT"]),
    ),
    min_size=1,
    max_size=40,
)


def _frame(events: list[dict[str, object]]) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(batch(events).rows))


@settings(max_examples=40)
@given(events=EVENTS, cut=st.integers(0, 40), window_s=st.sampled_from([1, 7, 60]))
def test_any_split_into_batches_gives_the_same_windows(
    events: list[dict[str, object]], cut: int, window_s: int
) -> None:
    """Sums of parts, merged, are bit for bit the sums of the whole."""
    window_ns = window_s * 1_000_000_000
    whole = aggregate(_frame(events), window_ns)
    parts = [aggregate(_frame(part), window_ns) for part in (events[:cut], events[cut:]) if part]
    assert_frame_equal(merge(pl.concat(parts), window_ns), whole)


@settings(max_examples=20)
@given(events=EVENTS)
def test_nothing_is_lost_or_invented(events: list[dict[str, object]]) -> None:
    """Windows hold exactly the events' totals, each inside its window."""
    frame = _frame(events)
    windows = aggregate(frame, 10_000_000_000)
    assert windows["events"].sum() == frame.height
    for name in RESOURCES[:4]:
        assert windows[name].sum() == frame[name].sum()
    # Times stand on a grid of a nanosecond, so each event is at most half of one away from what was sent.
    on_grid = frame["execution_time_ms"].round(6)
    assert windows["execution_time_ms"].sum() == pytest.approx(on_grid.sum(), rel=1e-12)
    assert windows["execution_time_ms"].sum() == pytest.approx(
        frame["execution_time_ms"].sum(), rel=1e-12, abs=5.1e-7 * frame.height
    )


def test_a_window_ends_before_the_next_begins() -> None:
    """An event at a boundary belongs to the window that starts there."""
    windows = aggregate(_frame([event(-1.0), event(-0.5), event(0.0)]), 1_000_000_000)
    assert windows["events"].to_list() == [2, 1]


def test_a_window_needs_a_length() -> None:
    """A length of zero is refused with the value."""
    with pytest.raises(ValueError, match="0 ns"):
        aggregate(_frame([event()]), 0)
