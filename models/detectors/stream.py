"""Scores of a whole series in order: score each value, then learn it, and say where an alert opens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.contracts import Detector

QUIET_ROWS = 150
"""After an alert, values no more surprising than the one that opened it belong to the same episode for so long."""


def score_stream(
    detector: Detector, values: NDArray[np.float64], timestamps_s: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(score, alert) of every row; alert is the score where an episode opens or outgrows itself, and 0 elsewhere."""
    scores = np.empty(len(values))
    for index, (value, stamp) in enumerate(zip(values.tolist(), timestamps_s.tolist(), strict=True)):
        scores[index] = detector.score_one(value, stamp)
        detector.learn_one(value, stamp)
    return scores, open_alerts(scores)


def open_alerts(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The score where it exceeds every score of the `QUIET_ROWS` before it, 0 elsewhere; looks back only.

    Whatever the threshold, an episode then opens once and not at each of its rows.
    """
    alerts = np.zeros(len(scores))
    highest, age = 0.0, QUIET_ROWS
    for index, score in enumerate(scores.tolist()):
        age += 1
        if age > QUIET_ROWS:
            highest = 0.0
        if score > highest:
            alerts[index] = score
            highest, age = score, 0
    return alerts
