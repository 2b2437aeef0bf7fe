"""Multi-view detector: one series against slow baselines, by how rare each distance from them has been."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np

from models.contracts import State
from models.detectors.slow_mean import SlowMean
from models.detectors.tail import Tail

VIEWS = ("level", "time of day", "last 16", "last 64", "step")
"""Distances of: the value from the long-run level, the value from the usual at this hour, the means of the last 16 and
of the last 64 values from the level, and the value from the one before."""

SLOW, HOURLY = 1 / 5_000, 0.1
SHORT, LONG = 2 / 17, 2 / 65
RECENT, NEAR_SHARE, CLIP, INDEX = 1 / 100, 0.3, 4.0, 4.0
"""A second opinion with less weight: distances against their mean over the last hundred or so, under a Lomax tail."""

HOURS = 24
WARM_UP = 20
BOUND = 1e150
"""Values beyond it count as it, so that no sum or product overflows."""


class MultiView:
    """Sums the surprise of five views, in nats; see `VIEWS`.

    A one-step forecaster would follow an anomaly; these baselines are slow, and what is learnt of the tail is only how
    great distances have been, so a sustained anomaly stays one for long.
    """

    name: ClassVar[str] = "multi-view"

    def __init__(self) -> None:
        self._level = SlowMean(SLOW)
        self._short = SlowMean(SHORT)
        self._long = SlowMean(LONG)
        self._hours = [SlowMean(HOURLY) for _ in range(HOURS)]
        self._scales = [SlowMean(SLOW) for _ in VIEWS]
        self._recent = [SlowMean(RECENT) for _ in VIEWS]
        self._tails = [Tail() for _ in VIEWS]
        self._last = 0.0

    def score_one(self, value: float, timestamp_s: float) -> float:
        """Nats of surprise, 0 in the warm-up and for missing values."""
        if self._level.count < WARM_UP or not math.isfinite(value):
            return 0.0
        distances = self._distances(_bounded(value), timestamp_s)
        total = 0.0
        for tail, scale, recent, distance in zip(self._tails, self._scales, self._recent, distances, strict=True):
            total += tail.surprise(distance / self._scale(scale)) + NEAR_SHARE * _lomax(distance / self._scale(recent))
        return total

    def learn_one(self, value: float, timestamp_s: float) -> None:
        """Take the value into the baselines; missing values are passed over."""
        if not math.isfinite(value):
            return
        value = _bounded(value)
        if self._level.count:
            distances = self._distances(value, timestamp_s)
            for tail, scale, recent, distance in zip(self._tails, self._scales, self._recent, distances, strict=True):
                if scale.count >= 5:
                    tail.learn(distance / self._scale(scale))
                scale.update(distance)
                is_warm = self._level.count > WARM_UP
                recent.update(min(distance, CLIP * self._scale(recent)) if is_warm else distance)
        self._level.update(value)
        self._short.update(value)
        self._long.update(value)
        self._hours[_hour(timestamp_s)].update(value)
        self._last = value

    def expected(self) -> tuple[float, float, float]:
        """The level with three mean distances either way, never below zero."""
        level, distance = self._level.get(), self._scales[0].get()
        return max(0.0, level - 3 * distance), max(0.0, level), max(0.0, level + 3 * distance)

    def state(self) -> State:
        """Counts and means of the baselines, and the tails' records."""
        means = [self._level, self._short, self._long, *self._hours, *self._scales, *self._recent]
        arrays = {
            "means": np.array([(part.count, part.get()) for part in means]),
            "tails": np.array([tail.dump() for tail in self._tails], dtype=np.float64),
            "last": np.array([self._last]),
        }
        return State({}, arrays)

    @classmethod
    def restore(cls, state: State) -> Self:
        """The detector that `state` described."""
        detector = cls()
        rows = state.arrays["means"].tolist()
        detector._level = SlowMean(SLOW, *rows[0])
        detector._short = SlowMean(SHORT, *rows[1])
        detector._long = SlowMean(LONG, *rows[2])
        detector._hours = [SlowMean(HOURLY, *row) for row in rows[3 : 3 + HOURS]]
        scales, recent = rows[3 + HOURS : 3 + HOURS + len(VIEWS)], rows[3 + HOURS + len(VIEWS) :]
        detector._scales = [SlowMean(SLOW, *row) for row in scales]
        detector._recent = [SlowMean(RECENT, *row) for row in recent]
        detector._tails = [Tail.load(numbers) for numbers in state.arrays["tails"].tolist()]
        detector._last = float(state.arrays["last"][0])
        return detector

    def _distances(self, value: float, timestamp_s: float) -> tuple[float, float, float, float, float]:
        """Distances of every view, as if the value were the latest."""
        level = self._level.get()
        hour = self._hours[_hour(timestamp_s)]
        usual = hour.get() if hour.count >= 3 else level
        return (
            abs(value - level),
            abs(value - usual),
            abs(self._short.with_next(value) - level),
            abs(self._long.with_next(value) - level),
            abs(value - self._last),
        )

    def _scale(self, scale: SlowMean) -> float:
        """Mean distance of a view, at least a thousandth of the level."""
        return max(scale.get(), 1e-3 * abs(self._level.get()), 1e-12)


def _lomax(ratio: float) -> float:
    """-log of the chance of a distance of so many means under a Lomax (Pareto II) tail of index `INDEX`."""
    return INDEX * math.log1p(ratio / (INDEX - 1))


def _hour(timestamp_s: float) -> int:
    return int(timestamp_s // 3_600) % HOURS


def _bounded(value: float) -> float:
    return min(max(value, -BOUND), BOUND)
