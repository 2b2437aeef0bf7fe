"""Scores of a whole series in time order, by any registered detector: score each value, then learn it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from models.contracts import Detector
from models.detectors import views
from models.detectors.multi_view import MultiView
from models.detectors.multi_view_series import score_series

ROWS = 50_000
"""Rows scored at once."""


def score_stream(
    kind: type[Detector],
    values: NDArray[np.float64],
    timestamps_s: NDArray[np.float64],
    band: NDArray[np.float64] | None = None,
    told: Callable[[int], object] = lambda _rows: None,
) -> NDArray[np.float64]:
    """The score of every row of one new series, in time order; never looks ahead.

    ``band``, (2, rows), takes what was expected before each row; ``told`` is called with the rows done, from time to
    time.
    """
    if kind is MultiView:
        return _along(values, timestamps_s, band, told)
    detector, scores = kind(), np.empty(len(values))
    for index, (value, stamp) in enumerate(zip(values.tolist(), timestamps_s.tolist(), strict=True)):
        if band is not None:
            band[:, index] = detector.expected()[::2]
        scores[index] = detector.score_one(value, stamp)
        detector.learn_one(value, stamp)
        if index % ROWS == ROWS - 1:
            told(ROWS)
    told(len(values) % ROWS)
    return scores


def _along(
    values: NDArray[np.float64],
    timestamps_s: NDArray[np.float64],
    band: NDArray[np.float64] | None,
    told: Callable[[int], object],
) -> NDArray[np.float64]:
    row, scores = views.fresh(1)[:, 0], np.empty(len(values))
    for start in range(0, len(values), ROWS):
        part = slice(start, min(start + ROWS, len(values)))
        some = band[:, part] if band is not None else None
        scores[part] = score_series(values[part], timestamps_s[part], row, some)
        told(part.stop - start)
    return scores
