"""A series that has just woken up follows what others did after they had woken up."""

from __future__ import annotations

import numpy as np

from models.contracts import LEVELS
from models.onset import Wakings, count_wakings, with_onset

SEASON = 24
MIDDLE = LEVELS.index(0.5)


def woken(stays: bool, count: int = 60, windows: int = 240) -> np.ndarray:
    """Series that stand at zero and wake up once, at different times, for good or for two windows."""
    values = np.zeros((count, windows))
    random = np.random.default_rng(0)
    for row in range(count):
        at = 60 + 2 * row
        values[row, at : windows if stays else at + 2] = 50 * (1 + 0.01 * random.random())
    return values


def one_awake(windows: int = 240) -> np.ndarray:
    """A series of zeros that woke up two windows ago."""
    values = np.zeros((1, windows))
    values[0, -2:] = 7.0
    return values


def test_where_wakings_last_the_new_level_is_forecast() -> None:
    """What others stayed at, in proportion, is expected of a series that woke up an hour ago."""
    wakings = count_wakings(woken(stays=True), SEASON)
    steps = with_onset(np.zeros((1, 12, len(LEVELS))), one_awake(), SEASON, wakings)
    assert (steps[0, :, MIDDLE] > 4).all()


def test_where_wakings_are_short_it_falls_back() -> None:
    """Where everybody fell back to zero at once, so is the forecast."""
    wakings = count_wakings(woken(stays=False), SEASON)
    steps = with_onset(np.full((1, 12, len(LEVELS)), 7.0), one_awake(), SEASON, wakings)
    assert (steps[0, 4:, MIDDLE] < 4).all()


def test_series_that_never_stood_still_are_left_alone() -> None:
    """The regime says nothing about a series that moves all the time."""
    moving = np.random.default_rng(1).random((3, 240))
    steps = np.random.default_rng(2).random((3, 12, len(LEVELS)))
    wakings = count_wakings(woken(stays=True), SEASON)
    np.testing.assert_array_equal(with_onset(steps, moving, SEASON, wakings), steps)


def test_counts_survive_a_bundle() -> None:
    """Counts become arrays and counts again."""
    wakings = count_wakings(woken(stays=True), SEASON)
    again = Wakings.of(wakings.arrays())
    np.testing.assert_array_equal(again.away, wakings.away)
    np.testing.assert_array_equal(again.ratios, wakings.ratios)
