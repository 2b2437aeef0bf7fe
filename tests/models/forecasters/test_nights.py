"""What stands still every night, or every weekend, is not switched off: that is its season."""

from __future__ import annotations

import numpy as np
import pytest

from models.contracts import LEVELS
from models.forecasters.markov import Markov
from models.forecasters.markov_states import standing, unusual
from models.panel import Panel

DAY, WEEK = 24, 168


def shop(days: int, series: int = 6) -> np.ndarray:
    """Usage from about 8 to 18 o'clock on working days, opening and closing an hour earlier or later by chance."""
    random = np.random.default_rng(5)
    values = np.zeros((series, days, DAY))
    for row in range(series):
        for day in range(days):
            if day % 7 < 5:
                first, last = random.integers(7, 10), random.integers(17, 20)
                values[row, day, first:last] = random.gamma(20, 1, last - first)
    return values.reshape(series, days * DAY)


def panel(values: np.ndarray) -> Panel:
    names = tuple(f"s{row}" for row in range(len(values)))
    return Panel(names, names, ("cpu",) * len(values), values, 0, 3_600_000_000_000, DAY)


@pytest.mark.parametrize("hour", [0, 6, 11, 20])
def test_nights_and_weekends_are_left_to_the_season(hour: int) -> None:
    """From whatever hour it is forecast, no regime is laid over a rhythm that has stood still as long every night."""
    past = panel(shop(28 + 2)[:, : 28 * DAY + hour])
    steps = np.random.default_rng(1).random((6, WEEK, len(LEVELS))).cumsum(axis=2)
    np.testing.assert_array_equal(Markov().fit(past, WEEK).with_regimes(past, steps), steps)


def test_silence_that_outlasts_the_night_is_unusual() -> None:
    """From the hour at which it used to open on a silence counts, and goes on to through the next night."""
    values = shop(20)[:, : 16 * DAY]
    values[:, -DAY:] = 0.0  # Tuesday
    found = unusual(values, DAY)
    assert (found[:, : -DAY + 7][:, 8 * DAY :] == 0).all()
    assert (found[:, -DAY:][:, 14] > 2).all()
    assert (found[:, -1] > 10).all()
    assert (found <= standing(values)).all()


def test_a_first_silence_is_unusual_at_once() -> None:
    """What has never stood still before is off from the first window that repeats."""
    values = np.random.default_rng(0).gamma(5, 1, (1, 10 * DAY))
    values[0, -5:] = 0.0
    np.testing.assert_array_equal(unusual(values, DAY)[0, -6:], [0, 0, 1, 2, 3, 4])


@pytest.mark.parametrize("season", [1, 2, 24])
def test_one_window_of_history_is_enough(season: int) -> None:
    """The very first forecast of a service stands on what little there is."""
    first = Panel(("a",), ("t",), ("cpu",), np.array([[3.0]]), 0, 3_600_000_000_000, season)
    steps = Markov().fit(first, 3).forecast(first, 3).steps
    assert np.isfinite(steps).all()
