"""River's GaussianScorer, for comparison: how far out in a normal distribution of all values so far."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np
from river import anomaly, proba

from models.contracts import State
from models.detectors.absolute_deviation import band
from models.detectors.views import BOUND, WARM_UP


class Gaussian:
    """Scores as River gives them: they saturate at 1 for whatever is far out, and cannot rank it."""

    name: ClassVar[str] = "gaussian"

    def __init__(self) -> None:
        scorer: Any = anomaly.GaussianScorer
        self._model = scorer(grace_period=WARM_UP)

    def score_one(self, value: float, timestamp_s: float) -> float:  # noqa: ARG002
        """Twice the distance of its quantile from the median; 0 in the warm-up and for missing values."""
        if not math.isfinite(value) or self._model.gaussian.sigma <= 0:
            return 0.0
        return float(self._model.score_one(None, min(max(value, -BOUND), BOUND)))

    def learn_one(self, value: float, timestamp_s: float) -> None:  # noqa: ARG002
        """Take the value in; missing values are passed over."""
        if math.isfinite(value):
            self._model.learn_one(None, min(max(value, -BOUND), BOUND))

    def expected(self) -> tuple[float, float, float]:
        """The mean and three standard deviations either way, never below zero."""
        return band(self._model.gaussian.mu, self._model.gaussian.sigma)

    def state(self) -> State:
        """Count, mean and variance."""
        normal = self._model.gaussian
        return State({}, {"moments": np.array([normal.n_samples, normal.mu, normal.sigma**2])})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The detector that `state` described."""
        detector, (count, mean, variance) = cls(), state.arrays["moments"].tolist()
        if count:
            distribution: Any = proba.Gaussian
            detector._model.gaussian = distribution._from_state(count, mean, variance, 1)
        return detector
