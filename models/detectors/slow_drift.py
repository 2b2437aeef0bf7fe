"""Slow drift of one series: a level that creeps up too slowly for any single value to stand out.

Values are averaged over quarters of a day. Each quarter's mean is compared with the mean of the same quarter on the
days before, in units of its usual deviation, and the differences are summed up by the Page-Hinkley test (Page, 1954).
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np
from river import drift

from models.contracts import State
from models.detectors.slow_drift_bank import (
    DELTA,
    FADING,
    LEAST_DAYS,
    LEAST_DEVIATION,
    MOST,
    PERIOD_S,
    QUARTERS,
    THRESHOLD,
)
from models.detectors.slow_mean import SlowMean
from models.detectors.views import BOUND


class SlowDrift:
    """Scores rise while a level creeps up, and are 1 or more once the test is sure; it then starts from there."""

    name: ClassVar[str] = "slow-drift"

    def __init__(self) -> None:
        self._period, self._sum, self._values = -1, 0.0, 0
        self._usual = [SlowMean(FADING) for _ in range(QUARTERS)]
        self._square = SlowMean(FADING)
        self._test = _test()
        self._score = 0.0

    def score_one(self, value: float, timestamp_s: float) -> float:
        """How sure the test is after the last full quarter of a day, in thresholds; 0 for missing values."""
        if not math.isfinite(value):
            return 0.0
        self._turn(timestamp_s)
        return self._score

    def learn_one(self, value: float, timestamp_s: float) -> None:
        """Take the value into its quarter's mean; missing values are passed over."""
        if math.isfinite(value):
            self._turn(timestamp_s)
            self._sum += min(max(value, -BOUND), BOUND)
            self._values += 1

    def expected(self) -> tuple[float, float, float]:
        """The baseline of the present quarter and two usual deviations either way, never below zero."""
        return self.usual(self._period)

    def usual(self, period: int) -> tuple[float, float, float]:
        """The baseline of a period's quarter of the day and two usual deviations either way, never below zero."""
        mean = self._usual[period % QUARTERS].get()
        deviation = max(math.sqrt(self._square.get()), LEAST_DEVIATION) * abs(mean)
        return max(0.0, mean - 2 * deviation), max(0.0, mean), max(0.0, mean + 2 * deviation)

    def take(self, period: int, total: float, values: int) -> float:
        """Take in the sum of a whole period's values; returns the score. For those who sum up many series at once."""
        self._period, self._sum, self._values = period, total, values
        self._close()
        self._sum, self._values = 0.0, 0
        return self._score

    def state(self) -> State:
        """Baselines, the test's sums and the quarter that is under way."""
        test = self._test
        numbers = [self._period, self._sum, self._values, self._score, self._square.count, self._square.get()]
        numbers += [number for usual in self._usual for number in (usual.count, usual.get())]
        numbers += [test._x_mean.n, test._x_mean.get(), test._sum_increase, test._min_increase]
        return State({}, {"numbers": np.array([*numbers, test.drift_detected], dtype=np.float64)})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The detector that `state` described."""
        detector, numbers = cls(), state.arrays["numbers"].tolist()
        detector._period, detector._sum, detector._values = int(numbers[0]), numbers[1], int(numbers[2])
        detector._score, detector._square = numbers[3], SlowMean(FADING, numbers[4], numbers[5])
        usual = numbers[6 : 6 + 2 * QUARTERS]
        detector._usual = [SlowMean(FADING, *usual[2 * index : 2 * index + 2]) for index in range(QUARTERS)]
        count, mean, increase, least, is_found = numbers[6 + 2 * QUARTERS :]
        test = detector._test
        if count:
            test._x_mean = type(test._x_mean)._from_state(count, mean)
        test._sum_increase, test._min_increase, test._drift_detected = increase, least, bool(is_found)
        return detector

    def _turn(self, timestamp_s: float) -> None:
        """Close the quarter before, when a later one has begun."""
        period = int(timestamp_s // PERIOD_S)
        if period != self._period:
            self._close()
            self._period, self._sum, self._values = period, 0.0, 0

    def _close(self) -> None:
        if not self._values:
            return
        mean, usual = self._sum / self._values, self._usual[self._period % QUARTERS]
        if usual.count >= LEAST_DAYS and usual.get():
            change = (mean - usual.get()) / abs(usual.get())
            change = min(max(change, -BOUND), BOUND)
            deviation = max(math.sqrt(self._square.get()), LEAST_DEVIATION)
            self._test.update(min(max(change / deviation, -MOST), MOST))
            test = self._test
            self._score = 0.0
            if test._x_mean.n >= test.min_instances:
                self._score = max(0.0, test._sum_increase - test._min_increase) / THRESHOLD
            self._square.update(min(abs(change), MOST * deviation) ** 2)
            if test.drift_detected:
                # From here on it is known: what comes next is compared with the level it has reached.
                self._usual = [SlowMean(FADING) for _ in range(QUARTERS)]
                self._test = _test()
                return
        usual.update(mean)


def _test() -> Any:
    return drift.PageHinkley(min_instances=2, delta=DELTA, threshold=THRESHOLD, alpha=1.0, mode="up")
