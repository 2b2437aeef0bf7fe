"""Multi-view detector: one value against slow baselines, near and sustained, by how rare such distances have been."""

from __future__ import annotations

import math
from typing import ClassVar, Self

import numpy as np

from models.contracts import State
from models.detectors.slow_mean import SlowMean

WARM_UP = 20
"""Values before the first score."""

SLOW, SHORT = 0.01, 0.2
TAIL = 4.0
"""Shape of the tail's prior: distances are taken to be as rare as under a Pareto of this index, not a Gaussian."""

CLIP = 4.0
"""A value is learnt at no more than so many mean distances from the level, so that an anomaly is no new normal."""


class MultiView:
    """Sums two surprises, in nats: of the value, and of the recent mean, each as distance from a slow level."""

    name: ClassVar[str] = "multi-view"

    def __init__(self) -> None:
        self._level = SlowMean(SLOW)
        self._distance = SlowMean(SLOW)
        self._sustained = SlowMean(SLOW)
        self._recent = SlowMean(SHORT)

    def score_one(self, value: float, timestamp_s: float) -> float:  # noqa: ARG002 -- the contract of detectors
        """Nats of surprise, 0 in the warm-up and for missing values."""
        if self._level.count < WARM_UP or not math.isfinite(value):
            return 0.0
        level = self._level.get()
        recent = (1 - SHORT) * self._recent.get() + SHORT * value
        floor = max(1e-9, 0.02 * abs(level))
        near = _surprise(abs(value - level), max(self._distance.get(), floor))
        lasting = _surprise(abs(recent - level), max(self._sustained.get(), floor))
        return near + lasting

    def learn_one(self, value: float, timestamp_s: float) -> None:  # noqa: ARG002 -- the contract of detectors
        """Take the value into the baselines; missing values are passed over."""
        if not math.isfinite(value):
            return
        level = self._level.get()
        self._recent.update(value)
        if self._level.count >= WARM_UP:
            reach = CLIP * max(self._distance.get(), 0.02 * abs(level), 1e-9)
            value = min(max(value, level - reach), level + reach)
        if self._level.count >= 2:
            self._distance.update(abs(value - level))
            sustained = min(abs(self._recent.get() - level), CLIP * max(self._sustained.get(), self._distance.get()))
            self._sustained.update(sustained)
        self._level.update(value)

    def expected(self) -> tuple[float, float, float]:
        """The level with three mean distances either way, never below zero."""
        level, distance = self._level.get(), self._distance.get()
        return max(0.0, level - 3 * distance), level, level + 3 * distance

    def state(self) -> State:
        """Four counts and means."""
        parts = (self._level, self._distance, self._sustained, self._recent)
        return State({}, {"means": np.array([(part.count, part.get()) for part in parts])})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The detector that `state` described."""
        detector = cls()
        rows = state.arrays["means"].tolist()
        detector._level = SlowMean(SLOW, *rows[0])
        detector._distance = SlowMean(SLOW, *rows[1])
        detector._sustained = SlowMean(SLOW, *rows[2])
        detector._recent = SlowMean(SHORT, *rows[3])
        return detector


def _surprise(distance: float, mean: float) -> float:
    """-log P(larger) of a Pareto II (Lomax) tail with the given mean: index TAIL, scale mean x (TAIL - 1)."""
    return TAIL * math.log1p(min(distance / (mean * (TAIL - 1)), 1e300))
