"""Features of time know local days, and features of the past know nothing else."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.calendar import with_calendar
from features.lags import with_lags


def _series(values: list[float]) -> pl.DataFrame:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    stamps = [start + timedelta(hours=hour) for hour in range(len(values))]
    return pl.DataFrame({"series": ["a"] * len(values), "timestamp": stamps, "value": values})


def test_local_days_also_when_the_clocks_change() -> None:
    """In Berlin the last Sunday of October has 25 hours, two of them the third."""
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)
    frame = pl.DataFrame({"timestamp": [start + timedelta(hours=hour) for hour in range(26)]})
    found = with_calendar(frame, time_zone="Europe/Berlin", holidays=[date(2026, 10, 26)])
    sunday = found.filter(pl.col("weekday") == 7)
    assert sunday.height == 25
    assert (sunday["hour"] == 2).sum() == 2
    assert sunday["is_weekend"].all()
    assert found["is_holiday"].to_list() == [False] * 25 + [True]


def test_lags_and_rolling_values() -> None:
    """Each row has what was known before it."""
    found = with_lags(_series([1.0, 2.0, 4.0, 8.0]), [1, 2], [2])
    assert found["lag_1"].to_list() == [None, 1.0, 2.0, 4.0]
    assert found["lag_2"].to_list() == [None, None, 1.0, 2.0]
    assert found["mean_2"].to_list() == [None, None, 1.5, 3.0]


def test_the_future_changes_no_feature() -> None:
    """Values from a row on leave that row's features as they were."""
    values = np.random.default_rng(0).random(40).tolist()
    changed = values[:20] + [value * 9 for value in values[20:]]
    one, two = (with_lags(_series(each), [1, 3], [4]).drop("value").head(21) for each in (values, changed))
    assert_frame_equal(one, two)


def test_lags_must_look_back() -> None:
    """A lag of zero is the answer itself."""
    with pytest.raises(ValueError, match="lag 0"):
        with_lags(_series([1.0]), [0])
