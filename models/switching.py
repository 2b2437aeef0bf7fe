"""Which series switch between two levels, as machines do that are either idle or worked to the full.

Such series are often run together, a cluster of machines that works through jobs, so what a member of an ensemble lost
on one of them says as much of the others; and a chain of states describes them better than any level does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ENDS = 0.02
"""The low and the high level are the quantiles this far from the ends."""

NEAR = 0.25
"""What lies within this share of the way from one level to the other is at that level."""

BETWEEN = 0.2
"""At most so much of the past lies between the two levels."""

EACH = 0.1
"""At least so much of the past lies at each of them."""


def switching(values: Array) -> NDArray[np.bool_]:
    """Which series of a past (series, windows), NaN where missing, switch between two levels: (series,)."""
    ranked = np.sort(values, axis=1)  # missing values come last
    count = np.isfinite(ranked).sum(axis=1)
    last, row = np.maximum(count - 1, 0), np.arange(len(values))
    cut = np.rint(ENDS * last).astype(np.int64)
    low, high = ranked[row, cut], ranked[row, last - cut]
    reach = NEAR * (high - low)
    idle = (ranked <= (low + reach)[:, None]).sum(axis=1)
    busy = (ranked >= (high - reach)[:, None]).sum(axis=1)
    apart = (high > low) & (count - idle - busy < BETWEEN * count)
    return np.asarray(apart & (np.minimum(idle, busy) > EACH * count), dtype=np.bool_)
