"""Slow drift of many series at once: the same numbers as `SlowDrift`, in one numpy pass for a quarter of each.

It stands without River, which brings pandas and scikit-learn along: a server starts the sooner.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.detectors.views import BOUND

Floats = NDArray[np.float64]
Columns = NDArray[np.intp]

PERIOD_S = 6 * 3_600
QUARTERS = 4
LEAST_DAYS = 3
"""Days before a quarter's baseline is trusted."""

FADING = 1 / 28
LEAST_DEVIATION = 0.04
"""A deviation is taken as at least this share of the baseline."""

MOST = 4.0
"""One quarter counts as at most so many deviations: a surge is no drift, another detector tells of it."""

DELTA, THRESHOLD = 0.5, 8.0
"""Of the Page-Hinkley test, in deviations: a creep of less than `DELTA` is let pass; `THRESHOLD` is a score of one."""

SCORE, COUNT, MEAN, INCREASE, LEAST, SQUARE_COUNT, SQUARE = range(7)
"""The score; of the test: values, their mean, the sum of increases and its minimum; of squared changes: count, mean."""

USUAL_COUNT, USUAL = 7, 7 + QUARTERS
"""Count and mean of each quarter of the day."""

WIDTH = USUAL + QUARTERS


class SlowDriftBank:
    """Series as columns of one array."""

    def __init__(self, series: int = 0) -> None:
        """Room for so many series that have seen nothing."""
        self._state = _fresh(series)

    def grow(self, series: int) -> None:
        """Make room for so many series in all."""
        there = self._state.shape[1]
        if series > there:
            self._state = np.concatenate([self._state, _fresh(max(series, 2 * there) - there)], axis=1)

    def rows(self, columns: Columns | slice) -> Floats:
        """States of series, (series, WIDTH), a copy."""
        return self._state[:, columns].T.copy()

    def put(self, columns: Columns | slice, rows: Floats) -> None:
        """Set the states of series, (series, WIDTH)."""
        self._state[:, columns] = rows.T

    def usual(self, columns: Columns, periods: Floats) -> Floats:
        """Low, middle and high of each series in its period's quarter of the day, (3, series), none below zero."""
        mean = self._state[USUAL + _quarter(periods), columns]
        spread = 2 * self._deviation(columns) * np.abs(mean)
        return np.maximum(np.stack([mean - spread, mean, mean + spread]), 0.0)

    def take(self, columns: Columns, periods: Floats, means: Floats) -> Floats:
        """Take in the mean of a whole period of each series; returns the scores, 1 or more where a level crept up.

        ``periods`` are numbers of quarters of a day since the epoch.
        """
        quarter = _quarter(periods)
        count, usual = self._state[USUAL_COUNT + quarter, columns], self._state[USUAL + quarter, columns]
        is_ready = (count >= LEAST_DAYS) & (usual != 0)
        is_found = np.zeros(len(columns), np.bool_)
        is_found[is_ready] = self._test(columns[is_ready], usual[is_ready], means[is_ready])
        known = ~is_found
        at = columns[known], quarter[known]
        self._state[USUAL + at[1], at[0]] = _next(usual[known], means[known], count[known])
        self._state[USUAL_COUNT + at[1], at[0]] = count[known] + 1
        scores: Floats = self._state[SCORE, columns]
        # What crept up is known from here on: what comes next is compared with the level it has reached.
        found, fresh = columns[is_found], _fresh(1)
        for row in (COUNT, MEAN, INCREASE, LEAST, *range(USUAL_COUNT, WIDTH)):
            self._state[row, found] = fresh[row, 0]
        return scores

    def _test(self, columns: Columns, usual: Floats, means: Floats) -> NDArray[np.bool_]:
        """Page's test with one more change of each series; returns where it is sure."""
        state = self._state[:, columns]
        change = np.clip((means - usual) / np.abs(usual), -BOUND, BOUND)
        deviation = self._deviation(columns)
        value = np.clip(change / deviation, -MOST, MOST)
        state[COUNT] += 1
        state[MEAN] += (value - state[MEAN]) / state[COUNT]
        state[INCREASE] += value - state[MEAN] - DELTA
        state[LEAST] = np.minimum(state[LEAST], state[INCREASE])
        risen = np.where(state[COUNT] >= 2, state[INCREASE] - state[LEAST], 0.0)
        state[SCORE] = np.maximum(risen, 0.0) / THRESHOLD
        square = np.minimum(np.abs(change), MOST * deviation) ** 2
        state[SQUARE] = _next(state[SQUARE], square, state[SQUARE_COUNT])
        state[SQUARE_COUNT] += 1
        self._state[:, columns] = state
        found: NDArray[np.bool_] = risen > THRESHOLD
        return found

    def _deviation(self, columns: Columns) -> Floats:
        deviation: Floats = np.maximum(np.sqrt(self._state[SQUARE, columns]), LEAST_DEVIATION)
        return deviation


def _fresh(series: int) -> Floats:
    state = np.zeros((WIDTH, series))
    state[LEAST] = np.inf
    return state


def _quarter(periods: Floats) -> NDArray[np.intp]:
    return (periods % QUARTERS).astype(np.intp)


def _next(mean: Floats, value: Floats, count: Floats) -> Floats:
    return mean + (value - mean) * np.maximum(1.0 / (count + 1), FADING)
