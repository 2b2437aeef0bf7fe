"""Calibration of widths: how much wider or narrower intervals must be to cover what they promise."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS

Array = NDArray[np.float64]
_MIDDLE = LEVELS.index(0.5)
PRIOR_COUNT = 20.0
"""Horizons' worth of a factor of 1 that the measured factor is shrunk to."""

PRIOR_WINDOWS = 400.0
"""Windows' worth of coverage as promised, beside what was covered lately."""


def width_factor(steps: Array, actual: Array) -> float:
    """The factor on distances from the median under which P10 to P90 covers 80 % of the actual values.

    Quantiles of shape (..., levels), actual (...,). It is the 80 % quantile of each value's distance from the median,
    in units of the interval's half on its side (a conformal score as of Romano, Patterson & Candes, 2019, on a scale).
    """
    middle = steps[..., _MIDDLE]
    upper, lower = steps[..., -1] - middle, middle - steps[..., 0]
    distance = actual - middle
    half = np.where(distance >= 0, upper, lower)
    used = np.isfinite(actual) & (half > 1e-9 * np.abs(middle) + 1e-12)
    if not used.any():
        return 1.0
    ratio = np.abs(distance[used]) / half[used]
    count = ratio.size / max(1, actual.shape[-1])
    found = float(np.clip(np.quantile(ratio, LEVELS[-1] - LEVELS[0]), 0.5, 2.5))
    return float(np.exp(np.log(found) * count / (count + PRIOR_COUNT)))


def online_factor(inside: Array, count: Array) -> Array:
    """Factors (series,) on distances from the median, by how many of ``count`` windows were ``inside`` P10 to P90.

    A normal distribution that covered as much as was seen, with `PRIOR_WINDOWS` of 80 % beside it, covers 80 % with it.
    The counts grow with every window that ends, so widths follow a series whose errors change, as in adaptive conformal
    inference (Gibbs & Candes, 2021); the step here is that of a normal distribution, shrunk to none.
    """
    promised = LEVELS[-1] - LEVELS[0]
    share = (inside + PRIOR_WINDOWS * promised) / (count + PRIOR_WINDOWS)
    score = NormalDist().inv_cdf
    return np.array([score(LEVELS[-1]) / score(0.5 + min(one, 0.99) / 2) for one in share], dtype=np.float64)


def stretched(steps: Array, factor: float | Array) -> Array:
    """Quantiles (..., levels) with distances from the median multiplied, by one factor or by one of shape (..., 1)."""
    middle = steps[..., _MIDDLE : _MIDDLE + 1]
    out = np.asarray(steps - middle, dtype=np.float64)
    out *= factor
    out += middle
    return out
