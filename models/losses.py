"""Losses of quantile forecasts, as backtests and the live watch on accuracy take them.

Hyndman & Koehler (2006), "Another look at measures of forecast accuracy", for the scale; the pinball loss is that of
Koenker & Bassett (1978), "Regression quantiles".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS

Array = NDArray[np.float64]


def pinball(actual: Array, quantiles: Array) -> Array:
    """Twice the pinball loss: actual (...,), quantiles (..., L) -> (..., L); at the median it is the absolute error."""
    levels = np.asarray(LEVELS)
    error = actual[..., None] - quantiles
    return np.asarray(2 * np.maximum(levels * error, (levels - 1) * error), dtype=np.float64)


def seasonal_scale(past: Array, season: int) -> Array:
    """Mean absolute seasonal difference of each series (series,); NaN where it is zero or unknown."""
    lag = min(season, max(1, past.shape[1] // 2))
    with np.errstate(all="ignore"):
        known = np.isfinite(past[:, lag:]) & np.isfinite(past[:, :-lag])
        gap = np.where(known, np.abs(past[:, lag:] - past[:, :-lag]), 0.0).sum(axis=1) / known.sum(axis=1)
    return np.where(gap > 0, gap, np.nan)


def scaled_pinball(past: Array, actual: Array, steps: Array, season: int) -> Array:
    """Mean pinball loss of each series over its scale (series,); NaN without a scale or anything known.

    ``past`` (series, windows) gives the scale, ``actual`` (series, horizon) came after it, ``steps`` (series, horizon,
    L) were the quantiles.
    """
    known = np.isfinite(actual)
    count = known.sum(axis=1)
    loss = np.where(known, pinball(np.nan_to_num(actual), steps).mean(axis=-1), 0.0).sum(axis=1)
    return np.where(count > 0, loss / np.maximum(count, 1), np.nan) / seasonal_scale(past, season)
