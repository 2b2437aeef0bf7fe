"""A panel is a faithful rectangle of its frame."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from models.panel import Panel

HOUR_NS = 3_600_000_000_000


def frame(rows):
    start = datetime(2026, 11, 1)
    return pl.DataFrame(
        [
            {"series": s, "tenant": "t", "resource": "cpu", "timestamp": start + timedelta(hours=h), "value": v}
            for s, h, v in rows
        ],
        schema_overrides={"value": pl.Float64},
    )


def test_missing_windows_become_nan_and_order_of_rows_does_not_matter():
    """Gaps stay visible as NaN; shuffled rows give the same panel."""
    rows = [("b", 0, 1.0), ("a", 2, 5.0), ("a", 0, 3.0), ("b", 1, None)]
    panel = Panel.from_frame(frame(rows), HOUR_NS, 24)
    again = Panel.from_frame(frame(rows[::-1]), HOUR_NS, 24)
    assert panel.series == ("a", "b")
    np.testing.assert_array_equal(panel.values, [[3.0, np.nan, 5.0], [1.0, np.nan, np.nan]])
    np.testing.assert_array_equal(panel.values, again.values)


def test_two_values_for_one_window_are_refused():
    """A duplicate row is an error, never a silent overwrite."""
    with pytest.raises(ValueError, match="duplicate rows"):
        Panel.from_frame(frame([("a", 0, 1.0), ("a", 0, 2.0)]), HOUR_NS, 24)


def test_until_hides_the_future():
    """A panel cut at a window holds nothing from it on."""
    panel = Panel.from_frame(frame([("a", h, float(h)) for h in range(5)]), HOUR_NS, 24)
    assert panel.until(3).values.tolist() == [[0.0, 1.0, 2.0]]
