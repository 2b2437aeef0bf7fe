"""River's StandardAbsoluteDeviation, for comparison: distance from the mean in standard deviations so far."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np
from river import anomaly, stats

from models.contracts import State
from models.detectors.views import BOUND, WARM_UP

DEVIATIONS = 3.0
"""So many standard deviations make a score of one: the rule of three sigma."""


class AbsoluteDeviation:
    """Scores are in `DEVIATIONS` standard deviations; see Hochenbaum, Vallis and Kejariwal (2017)."""

    name: ClassVar[str] = "absolute-deviation"

    def __init__(self) -> None:
        self._model: Any = anomaly.StandardAbsoluteDeviation()

    def score_one(self, value: float, timestamp_s: float) -> float:  # noqa: ARG002
        """Distance from the mean; 0 in the warm-up, for missing values and as long as all values are one."""
        variance = self._model.variance
        if variance.mean.n < WARM_UP or not math.isfinite(value) or variance.get() <= 0:
            return 0.0
        return float(self._model.score_one(None, min(max(value, -BOUND), BOUND))) / DEVIATIONS

    def learn_one(self, value: float, timestamp_s: float) -> None:  # noqa: ARG002
        """Take the value in; missing values are passed over."""
        if math.isfinite(value):
            self._model.learn_one(None, min(max(value, -BOUND), BOUND))

    def expected(self) -> tuple[float, float, float]:
        """The mean and three standard deviations either way, never below zero."""
        return band(self._model.sub_stat.get(), math.sqrt(max(self._model.variance.get(), 0.0)))

    def state(self) -> State:
        """Count, mean and variance."""
        variance = self._model.variance
        return State({}, {"moments": np.array([variance.mean.n, variance.mean.get(), variance.get()])})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The detector that `state` described."""
        detector, (count, mean, variance) = cls(), state.arrays["moments"].tolist()
        if count:
            detector._model.variance = stats.Var._from_state(count, mean, variance)
            detector._model.sub_stat = stats.Mean._from_state(count, mean)
        return detector


def band(mean: float, deviation: float) -> tuple[float, float, float]:
    """(low, middle, high): three deviations either way, never below zero."""
    return max(0.0, mean - 3 * deviation), max(0.0, mean), max(0.0, mean + 3 * deviation)
