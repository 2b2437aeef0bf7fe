"""Between quantiles and values: interpolation with tails, and the empirical quantiles of sample paths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS

Array = NDArray[np.float64]


def value_at(steps: Array, levels: Array) -> Array:
    """Values at probability ``levels`` of distributions given by quantiles; levels broadcast over the leading axes.

    ``steps`` has shape (..., L) at `models.contracts.LEVELS`, ``levels`` (count, ...); returns (count, ...). Linear
    between quantiles; beyond the outer ones the tails are exponential, with the slope of the outer pair, down to zero.
    """
    grid = np.asarray(LEVELS)
    low, width = grid[0], grid[1] - grid[0]
    place = (levels - low) / width
    index = np.clip(place.astype(np.int64), 0, len(grid) - 2)
    share = np.clip(place - index, 0.0, 1.0)
    lead = np.broadcast_to(steps, (levels.shape[0], *steps.shape))
    left = np.take_along_axis(lead, index[..., None], axis=-1)[..., 0]
    right = np.take_along_axis(lead, index[..., None] + 1, axis=-1)[..., 0]
    value = left + share * (right - left)
    # An exponential tail beyond P10 and P90: excess = slope x log(tail probability ratio).
    upper = (steps[..., -1] - steps[..., -2]) / np.log((1 - grid[-2]) / (1 - grid[-1]))
    lower = (steps[..., 1] - steps[..., 0]) / np.log(grid[1] / grid[0])
    tiny = 1e-4
    above = upper * np.log((1 - grid[-1]) / np.maximum(1 - levels, tiny))
    below = lower * np.log(grid[0] / np.maximum(levels, tiny))
    value = np.where(levels > grid[-1], steps[..., -1] + above, value)
    value = np.where(levels < grid[0], steps[..., 0] - below, value)
    return np.asarray(np.maximum(value, 0.0), dtype=np.float64)


def empirical(samples: Array) -> Array:
    """Quantiles over the first axis at `models.contracts.LEVELS`, levels last: (count, ...) -> (..., L)."""
    return np.moveaxis(np.quantile(samples, LEVELS, axis=0), 0, -1)


def tidy(steps: Array) -> Array:
    """Quantiles made finite, non-negative and rising with the level."""
    return np.sort(np.maximum(np.nan_to_num(steps, nan=0.0, posinf=0.0, neginf=0.0), 0.0), axis=-1)
