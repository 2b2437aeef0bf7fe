"""All watched series of an engine: their detectors as columns of arrays, their drift tests, and their beginnings."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.detectors import views
from models.detectors.multi_view_bank import MultiViewBank, Readings
from models.detectors.slow_drift_bank import PERIOD_S, QUARTERS, SlowDriftBank
from models.detectors.slow_drift_bank import WIDTH as DRIFT_WIDTH

Floats = NDArray[np.float64]
Columns = NDArray[np.intp]

FIRST_S, PERIOD, SUM, VALUES = range(4)
"""Beside the detectors' rows: when a series was first seen, and the sum of the quarter of a day under way."""

WIDTH = views.WIDTH + DRIFT_WIDTH + 4
"""Numbers that are kept of a series: 207 float64, 1,656 bytes."""

DAY_S = QUARTERS * PERIOD_S

PRIOR_COUNT, PRIOR_SEEN = 30, 64
"""A prior from a relative counts as so many values of one's own, and so many for the records."""


class Drifted(NamedTuple):
    """Series whose level crept up: what the last quarter of a day had on average, and what was usual before."""

    columns: Columns
    scores: Floats
    means: Floats
    expected: Floats


class Priors(NamedTuple):
    """Series that begin with a relative's baseline: their columns and rows, (series, views.WIDTH)."""

    columns: Columns
    rows: Floats


class SeriesBank:
    """Detectors of series by number; a series begins with its first value, warm where a relative is.

    What a step gives a series does not depend on the others in it: steps may be repeated for some of them.
    """

    def __init__(self, rate: float = 1.0) -> None:
        """``rate`` as in `models.detectors.severity`."""
        self._bank, self._drift = MultiViewBank(rate=rate), SlowDriftBank()
        self._own = np.zeros((4, 0))
        self.series = 0

    def grow(self, series: int) -> None:
        """Make room for so many series in all."""
        self._bank.grow(series)
        self._drift.grow(series)
        there = self._own.shape[1]
        if series > there:
            more = np.zeros((4, max(series, 2 * there) - there))
            more[FIRST_S] = np.nan
            self._own = np.concatenate([self._own, more], axis=1)
        self.series = max(self.series, series)

    def begin(self, columns: Columns, relatives: Columns, timestamp_s: float) -> Priors:
        """Series among these that were never seen begin; returns those that got their relative's baseline.

        ``relatives`` are columns too, -1 where there is none.
        """
        is_new = np.isnan(np.take(self._own[FIRST_S], columns))
        if not is_new.any():
            return Priors(columns[:0], np.zeros((0, views.WIDTH)))
        self._own[FIRST_S, columns[is_new]] = timestamp_s
        is_warm = is_new & (relatives >= 0)
        is_warm[is_warm] = self._bank.counts(relatives[is_warm]) >= views.WARM_UP
        priors = Priors(columns[is_warm], as_priors(self._bank.rows(relatives[is_warm])))
        self._bank.put(*priors)
        return priors

    def begin_with(self, priors: Priors) -> None:
        """Give series the baselines that `begin` gave them once."""
        self._bank.put(*priors)

    def step(self, columns: Columns, values: Floats, timestamp_s: float) -> tuple[Readings, Drifted]:
        """Score and learn one value of each of these series; and what has crept up in quarters that are over."""
        period = timestamp_s // PERIOD_S
        drifted = self._turned(columns, period)
        is_there = np.isfinite(values)
        self._own[SUM, columns] += np.where(is_there, values, 0.0)
        self._own[VALUES, columns] += is_there
        self._own[PERIOD, columns] = period
        return self._bank.step(columns, values, timestamp_s), drifted

    def _turned(self, columns: Columns, period: float) -> Drifted:
        """Close quarters of a day that are over for these series."""
        over = columns[(self._own[PERIOD, columns] != period) & (self._own[VALUES, columns] > 0)]
        periods, means = self._own[PERIOD, over], self._own[SUM, over] / self._own[VALUES, over]
        expected = self._drift.usual(over, periods)
        scores = self._drift.take(over, periods, means)
        self._own[SUM, over], self._own[VALUES, over] = 0.0, 0.0
        found = scores >= 1
        return Drifted(over[found], scores[found], means[found], expected[:, found])

    def age_s(self, columns: Columns, timestamp_s: float) -> Floats:
        """Seconds since each series was first seen."""
        age: Floats = timestamp_s - np.take(self._own[FIRST_S], columns)
        return age

    def silent(self, timestamp_s: float, days: int) -> NDArray[np.bool_]:
        """Which series have had a value, but none since so many days before the day of a time (UTC)."""
        last_day = self._own[PERIOD, : self.series] // QUARTERS
        silent: NDArray[np.bool_] = last_day + days < timestamp_s // DAY_S
        return silent & self.begun()

    def begun(self) -> NDArray[np.bool_]:
        """Which series have had a value."""
        begun: NDArray[np.bool_] = ~np.isnan(self._own[FIRST_S, : self.series])
        return begun

    def is_first_of_day(self, timestamp_s: float) -> bool:
        """Whether no series has had a value on the day of a time (UTC), or later."""
        return bool(self._own[PERIOD, : self.series].max(initial=0.0) // QUARTERS < timestamp_s // DAY_S)

    def level(self, column: int) -> tuple[float, int]:
        """Long-run mean of a series and how many values it rests on."""
        columns = np.array([column])
        return float(self.levels(columns)[0]), int(self._bank.counts(columns)[0])

    def levels(self, columns: Columns) -> Floats:
        """Long-run mean of each series."""
        return self._bank.levels(columns)

    def rows(self, columns: Columns | slice) -> Floats:
        """States of series, (series, WIDTH), a copy."""
        parts = self._bank.rows(columns), self._drift.rows(columns), self._own[:, columns].T
        return np.concatenate(parts, axis=1)

    def put(self, columns: Columns | slice, rows: Floats) -> None:
        """Set the states of series, (series, WIDTH)."""
        own = views.WIDTH + DRIFT_WIDTH
        self._bank.put(columns, rows[:, : views.WIDTH])
        self._drift.put(columns, rows[:, views.WIDTH : own])
        self._own[:, columns] = rows[:, own:].T


def as_priors(rows: Floats) -> Floats:
    """Relatives' baselines as weak ones: believed at first, they give way to one's own values soon."""
    priors = rows.copy()
    for place, most in (
        (views.COUNT, PRIOR_COUNT),
        (views.USUAL_COUNTS, views.HOUR_LEAST),
        (views.SEEN, PRIOR_SEEN),
        (views.SEEN_BEFORE, PRIOR_SEEN),
    ):
        priors[:, place] = np.minimum(priors[:, place], most)
    return priors
