"""Scores of a whole series in time order, by any registered detector: score each value, then learn it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.contracts import Detector
from models.detectors import views
from models.detectors.multi_view import MultiView
from models.detectors.multi_view_series import score_series


def score_stream(
    kind: type[Detector], values: NDArray[np.float64], timestamps_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The score of every row of one new series; never looks ahead."""
    if kind is MultiView:
        return score_series(values, timestamps_s, views.fresh(1)[:, 0])
    detector, scores = kind(), np.empty(len(values))
    for index, (value, stamp) in enumerate(zip(values.tolist(), timestamps_s.tolist(), strict=True)):
        scores[index] = detector.score_one(value, stamp)
        detector.learn_one(value, stamp)
    return scores
