"""Multi-view detector of one series, value by value: slow baselines, and how rare each distance from them has been.

A one-step forecaster would follow an anomaly; these baselines are slow, so a sustained anomaly stays one for long. Two
channels look at the distances: one by how rare they have been (`Tail`), one by their own scale. `severity` makes one
number of both.
"""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np

from models.contracts import State
from models.detectors import views
from models.detectors.severity import severity
from models.detectors.slow_mean import SlowMean
from models.detectors.tail import Tail


class MultiView:
    """The readable form on River's statistics; `MultiViewBank` and `score_series` give the same numbers faster."""

    name: ClassVar[str] = "multi-view"

    def __init__(self) -> None:
        self._level = SlowMean(views.SLOW)
        self._mean_16 = SlowMean(views.SHORT)
        self._mean_64 = SlowMean(views.LONG)
        self._aside = SlowMean(views.LONG)
        self._usual = [SlowMean(views.HOURLY) for _ in range(views.HOURS)]
        self._squares = [SlowMean(views.SCALE) for _ in views.SCALED_VIEWS]
        self._tails = [Tail() for _ in views.TAIL_VIEWS]
        self._last = 0.0
        self._grain = 0.0

    def score_one(self, value: float, timestamp_s: float) -> float:
        """Severity >= 0; 1 opens an alert; 0 in the warm-up and for missing values."""
        if self._level.count < views.WARM_UP or not math.isfinite(value):
            return 0.0
        value = _bounded(value)
        surprises = [
            tail.surprise(distance, self._grain)
            for tail, distance in zip(self._tails, self._tail_distances(value, timestamp_s), strict=True)
        ]
        surprise: float = math.pow(sum(one**views.NORM for one in surprises), 1 / views.NORM)
        distances = self._scaled_distances(value)
        scaled = [distance / self._scale(index, distance) for index, distance in enumerate(distances)]
        return float(severity(surprise, sum(scaled) / len(scaled)))

    def learn_one(self, value: float, timestamp_s: float) -> None:
        """Take the value into the baselines; missing values are passed over."""
        if not math.isfinite(value):
            return
        value = _bounded(value)
        for tail, distance in zip(self._tails, self._tail_distances(value, timestamp_s), strict=True):
            tail.learn(distance)
        for square, distance in zip(self._squares, self._scaled_distances(value), strict=True):
            most = views.CLIP * math.sqrt(square.get())
            is_clipped = square.count >= views.WARM_UP and most > 0
            square.update(min(distance, most) ** 2 if is_clipped else distance**2)
        hour, usual = self._usual[views.hour_of(timestamp_s)], self._usual_at(timestamp_s, value)
        step = abs(value - self._last) if self._level.count else 0.0
        if step > 0:
            self._grain = min(self._grain, step) if self._grain > 0 else step
        self._aside.update(value - usual)
        hour.update(value)
        for mean in (self._level, self._mean_16, self._mean_64):
            mean.update(value)
        self._last = value

    def expected(self) -> tuple[float, float, float]:
        """The level with three scales of the distance from it either way, never below zero."""
        level, scale = self._level.get(), math.sqrt(self._squares[0].get())
        return max(0.0, level - 3 * scale), max(0.0, level), max(0.0, level + 3 * scale)

    def state(self) -> State:
        """One row of numbers, as `views` lays it out."""
        row = views.fresh(1)[:, 0]
        row[views.COUNT] = self._level.count
        row[views.LEVEL], row[views.MEAN_16], row[views.MEAN_64] = (
            mean.get() for mean in (self._level, self._mean_16, self._mean_64)
        )
        row[views.ASIDE], row[views.LAST], row[views.GRAIN] = self._aside.get(), self._last, self._grain
        row[views.SEEN], row[views.SEEN_BEFORE] = self._tails[0].seen, self._tails[0].seen_before
        row[views.SQUARES] = [square.get() for square in self._squares]
        row[views.USUAL] = [hour.get() for hour in self._usual]
        row[views.USUAL_COUNTS] = [hour.count for hour in self._usual]
        dumps = [tail.dump() for tail in self._tails]
        row[views.GREATEST] = [record for records, _ in dumps for record in records]
        row[views.GREATEST_BEFORE] = [record for _, before in dumps for record in before]
        return State({}, {"row": row})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The detector that `state` described."""
        detector, row = cls(), np.asarray(state.arrays["row"], dtype=np.float64).tolist()
        count = row[views.COUNT]
        detector._level = SlowMean(views.SLOW, count, row[views.LEVEL])
        detector._mean_16 = SlowMean(views.SHORT, count, row[views.MEAN_16])
        detector._mean_64 = SlowMean(views.LONG, count, row[views.MEAN_64])
        detector._aside = SlowMean(views.LONG, count, row[views.ASIDE])
        detector._squares = [SlowMean(views.SCALE, count, square) for square in row[views.SQUARES]]
        hours = zip(row[views.USUAL_COUNTS], row[views.USUAL], strict=True)
        detector._usual = [SlowMean(views.HOURLY, *hour) for hour in hours]
        detector._last, detector._grain = row[views.LAST], row[views.GRAIN]
        greatest, before = row[views.GREATEST], row[views.GREATEST_BEFORE]
        seen = int(row[views.SEEN]), int(row[views.SEEN_BEFORE])
        cuts = [slice(index * views.RECORDS, (index + 1) * views.RECORDS) for index in range(len(views.TAIL_VIEWS))]
        detector._tails = [Tail(greatest[cut], before[cut], *seen) for cut in cuts]
        return detector

    def _usual_at(self, timestamp_s: float, value: float) -> float:
        hour = self._usual[views.hour_of(timestamp_s)]
        return hour.get() if hour.count >= views.HOUR_LEAST else self._level_or(value)

    def _level_or(self, value: float) -> float:
        return self._level.get() if self._level.count else value

    def _tail_distances(self, value: float, timestamp_s: float) -> tuple[float, float, float, float]:
        """Distances of `TAIL_VIEWS`, as if the value were the latest."""
        level = self._level_or(value)
        return (
            abs(value - level),
            abs(self._mean_16.with_next(value) - level),
            abs(self._mean_64.with_next(value) - level),
            abs(self._aside.with_next(value - self._usual_at(timestamp_s, value))),
        )

    def _scaled_distances(self, value: float) -> tuple[float, float, float]:
        """Distances of `SCALED_VIEWS`."""
        if not self._level.count:
            return 0.0, 0.0, 0.0
        return abs(value - self._level.get()), abs(value - self._mean_64.get()), abs(value - self._last)

    def _scale(self, index: int, distance: float) -> float:
        """What is usual for a scaled view; a first distance ever is its own measure."""
        scale = math.sqrt(self._squares[index].get()) or distance
        level = abs(self._level.get())
        return max(scale, views.GRAIN_SHARE * self._grain, views.LEAST_SHARE * level, views.TINY)


def _bounded(value: float) -> float:
    return min(max(value, -views.BOUND), views.BOUND)
