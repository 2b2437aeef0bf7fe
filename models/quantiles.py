"""Between quantiles and values: interpolation with tails, and the empirical quantiles of sample paths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
_BLOCK = 32_768
"""So many values at once, that all in between stay in the processor's cache."""
_TINY = 1e-4


def value_at(steps: Array, levels: Array) -> Array:
    """Values at probability ``levels`` of distributions given by quantiles; levels broadcast over the leading axes.

    ``steps`` has shape (..., L) at `models.contracts.LEVELS`, ``levels`` (count, ...); returns (count, ...). Linear
    between quantiles; beyond the outer ones the tails are exponential, with the slope of the outer pair, down to zero.
    """
    known = np.asarray(steps, np.float64).reshape(-1, len(LEVELS))
    shape = (levels.shape[0], *steps.shape[:-1])
    asked = np.broadcast_to(levels, shape).reshape(shape[0], len(known))
    rows = max(1, _BLOCK // max(1, len(known)))
    values = np.empty(asked.shape)
    for first in range(0, len(asked), rows):
        values[first : first + rows] = _within(known, asked[first : first + rows])
    return values.reshape(shape)


def _within(known: Array, asked: Array) -> Array:
    """`value_at` of flat distributions (n, L) and levels (rows, n)."""
    grid, count = np.asarray(LEVELS), len(LEVELS)
    low, width = grid[0], grid[1] - grid[0]
    share = (asked - low) / width
    index = np.clip(share.astype(np.int64), 0, count - 2)
    share = np.clip(share - index, 0.0, 1.0)
    index += np.arange(len(known)) * count
    left, right = np.take(known, index), np.take(known, index + 1)
    value = left + share * (right - left)
    # An exponential tail beyond P10 and P90: excess = slope x log(tail probability ratio).
    upper = (known[:, -1] - known[:, -2]) / np.log((1 - grid[-2]) / (1 - grid[-1]))
    lower = (known[:, 1] - known[:, 0]) / np.log(grid[1] / grid[0])
    row, at = np.nonzero(asked > grid[-1])
    value[row, at] = known[at, -1] + upper[at] * np.log((1 - grid[-1]) / np.maximum(1 - asked[row, at], _TINY))
    row, at = np.nonzero(asked < grid[0])
    value[row, at] = known[at, 0] - lower[at] * np.log(grid[0] / np.maximum(asked[row, at], _TINY))
    return np.asarray(np.maximum(value, 0.0), dtype=np.float64)


def empirical(samples: Array) -> Array:
    """Quantiles over the first axis at `models.contracts.LEVELS`, levels last: (count, ...) -> (..., L)."""
    return np.moveaxis(np.quantile(samples, LEVELS, axis=0), 0, -1)


def tidy(steps: Array) -> Array:
    """Quantiles made finite, non-negative and rising with the level."""
    if _kernels is None:
        return np.sort(np.maximum(np.nan_to_num(steps, nan=0.0, posinf=0.0, neginf=0.0), 0.0), axis=-1)
    out = np.array(steps, dtype=np.float64, order="C")
    _kernels.tidy(out, out.size // out.shape[-1], out.shape[-1])
    return out


def point_quantiles(values: Array, kinds: NDArray[np.uint8], moving: Array, still: Array, share: float) -> Array:
    """Quantiles (series, horizon, levels) of distributions that live on points: the smallest with enough mass up to it.

    ``values`` (series, points) rise, ``kinds`` (same) say which state a point is of. With chance ``still`` (series,
    horizon) it is the point of the kind after the last state, else one of a state by the chances ``moving`` (series,
    horizon, states), of which each of its points has a ``share``.
    """
    series, horizon, states = moving.shape
    points = values.shape[1]
    if _kernels is None:
        mass = np.concatenate([share * (1 - still)[:, :, None] * moving, still[:, :, None]], axis=2)
        place = np.broadcast_to(kinds[:, None, :].astype(np.int64), (series, horizon, points))
        total = np.cumsum(np.take_along_axis(mass, place, axis=2), axis=2)
        index = np.stack([(total < level - 1e-9).sum(axis=2) for level in LEVELS], axis=2)
        lead = np.broadcast_to(values[:, None, :], (series, horizon, points))
        return np.take_along_axis(lead, np.minimum(index, points - 1), axis=2)
    out = np.empty((series, horizon, len(LEVELS)))
    given = (np.ascontiguousarray(values, dtype=np.float64), np.ascontiguousarray(kinds, dtype=np.uint8))
    chances = (np.ascontiguousarray(moving, dtype=np.float64), np.ascontiguousarray(still, dtype=np.float64))
    _kernels.point_quantiles(*given, *chances, np.asarray(LEVELS), out, series, points, horizon, states, share)
    return out


def quantiles_of_ranked(ranked: Array, levels: Array) -> Array:
    """Quantiles (..., levels) of rising values (..., windows) with NaN at the end, between neighbours; 0 where none."""
    known = np.isfinite(ranked).sum(axis=-1)[..., None]
    last = np.maximum(known - 1, 0)
    place = levels * last
    low = place.astype(np.int64)
    lower = np.take_along_axis(ranked, low, axis=-1)
    upper = np.take_along_axis(ranked, np.minimum(low + 1, last), axis=-1)
    return np.where(known > 0, np.nan_to_num(lower + (place - low) * (upper - lower)), 0.0)
