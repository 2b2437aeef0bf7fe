"""What the multi-view detector looks at, its constants, and how its state lies in one row of numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TAIL_VIEWS = ("level", "last 16", "last 64", "hour of day")
"""Distances judged by how rare they have been: of the value, and of the means of the last 16 and 64 values, from the
long-run level; and of the mean of the last 64 distances from what is usual at this hour."""

SCALED_VIEWS = ("level", "recent mean", "step")
"""Distances judged by their own scale: of the value from the level, from the mean of the last 64, and from the last."""

VIEWS = (*TAIL_VIEWS, *(f"{name} (scaled)" for name in SCALED_VIEWS))

SLOW, SHORT, LONG, HOURLY, SCALE = 1 / 5_000, 2 / 17, 2 / 65, 0.1, 1 / 1_000
"""Fadings: of the level, of the means of the last 16 and 64, of an hour's usual, of the scales."""

HOURS = 24
HOUR_LEAST = 3
"""So many values make an hour's usual; before, the level stands for it."""

RECORDS = 16
STRETCH = 5_000
"""Values after which records rotate: those of the stretch before still count, older ones do not."""

PRIOR_COUNT, PRIOR_INDEX = 4.0, 3.0
"""A prior for Hill's index, worth so many records."""

CLIP = 10.0
"""A distance enters its own scale as at most so many scales, or one anomaly would hide the next."""

LEAST_SHARE = 0.1
"""No scale is less than this share of the level: smaller changes are of no account to who pays."""

GRAIN_SHARE = 0.5
"""No scale is less than this share of the smallest step seen, or counts of zero, one and two look wild."""

NORM = 6
"""The tail views are summed in this norm: about their greatest, somewhat more where they agree."""

WARM_UP = 20
BOUND = 1e150
"""Values beyond it count as it, so that no square overflows."""

TINY = 1e-12

# The row of one series: 188 float64, 1,504 bytes.
COUNT, LEVEL, MEAN_16, MEAN_64, ASIDE, LAST, GRAIN, SEEN, SEEN_BEFORE = range(9)
SQUARES = slice(9, 12)
USUAL = slice(12, 36)
USUAL_COUNTS = slice(36, 60)
GREATEST = slice(60, 60 + len(TAIL_VIEWS) * RECORDS)
GREATEST_BEFORE = slice(GREATEST.stop, GREATEST.stop + len(TAIL_VIEWS) * RECORDS)
WIDTH = GREATEST_BEFORE.stop


def fresh(series: int) -> NDArray[np.float64]:
    """Rows of series that have seen nothing, as columns: (WIDTH, series)."""
    state = np.zeros((WIDTH, series))
    state[GREATEST], state[GREATEST_BEFORE] = -1.0, -1.0
    return state


def hour_of(timestamp_s: float) -> int:
    """The hour of the day, UTC."""
    return int(timestamp_s // 3_600) % HOURS
