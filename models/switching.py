"""Which series switch between two levels, as machines do that are either idle or worked to the full.

Such series are often run together, a cluster of machines that works through jobs, so what a member of an ensemble lost
on one of them says as much of the others; and a chain of states describes them better than any level does. What is busy
by day and idle by night, by the clock, is not among them.
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


RHYTHM = 0.4
"""At most so much of the variance of being busy is explained by the time of day (the phase within the season)."""


def switching(values: Array, season: int) -> NDArray[np.bool_]:
    """Which series of a past (series, windows), NaN where missing, switch between two levels: (series,)."""
    ranked = np.sort(values, axis=1)  # missing values come last
    count = np.isfinite(ranked).sum(axis=1)
    last, row = np.maximum(count - 1, 0), np.arange(len(values))
    cut = np.rint(ENDS * last).astype(np.int64)
    low, high = ranked[row, cut], ranked[row, last - cut]
    reach = NEAR * (high - low)
    idle = (ranked <= (low + reach)[:, None]).sum(axis=1)
    busy = (ranked >= (high - reach)[:, None]).sum(axis=1)
    found = (high > low) & (count - idle - busy < BETWEEN * count) & (np.minimum(idle, busy) > EACH * count)
    rows = np.flatnonzero(found)
    found[rows] = _by_the_clock(values[rows], 0.5 * (low + high)[rows], season) < RHYTHM
    return np.asarray(found, dtype=np.bool_)


def _by_the_clock(values: Array, middle: Array, season: int) -> Array:
    """How much of the variance of lying above a middle (series,) the phase explains (series,); 0 below two seasons.

    This is the squared correlation ratio (Pearson, 1905).
    """
    whole = values.shape[1] // season
    if whole < 2:
        return np.zeros(len(values))
    folded = values[:, values.shape[1] - whole * season :].reshape(len(values), whole, season)
    known = np.isfinite(folded)
    busy, count = (known & (folded > middle[:, None, None])).sum(axis=1), known.sum(axis=1)
    phase = busy / np.maximum(count, 1)
    mean = busy.sum(axis=1) / np.maximum(count.sum(axis=1), 1)
    between = (count * (phase - mean[:, None]) ** 2).sum(axis=1)
    total = count.sum(axis=1) * mean * (1 - mean)
    return np.asarray(np.divide(between, total, out=np.zeros_like(total), where=total > 0), dtype=np.float64)
