"""The regime of standing still laid over any forecast: a mixture of one certain value and a distribution."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS
from models.quantiles import tidy, value_at

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
OUTER = 0.02
"""Levels beyond this are not asked of quantiles that end at P10 and P90."""


def with_regime(steps: Array, chance: Array, value: Array) -> Array:
    """Quantiles of: ``value`` (series) with ``chance`` (series, horizon), else as ``steps`` (series, horizon, levels).

    The mixture's distribution function is (1 - chance) F(x) + chance [x >= value], inverted at every level.
    """
    held = chance.max(axis=1, initial=0.0) > 0
    if not held.any():
        return steps
    out = np.array(steps, dtype=np.float64, order="C")
    if _kernels is not None:
        given = np.ascontiguousarray(chance, dtype=np.float64), np.ascontiguousarray(value, dtype=np.float64)
        _kernels.with_regime(out, *given, np.asarray(LEVELS), *chance.shape, OUTER)
        return out
    out[held] = _mixture(steps[held], chance[held], value[held])
    return out


def _mixture(steps: Array, chance: Array, value: Array) -> Array:
    """What the compiled function does, of series that may stand still."""
    point = np.broadcast_to(value[:, None], chance.shape)
    share = _share_below(steps, point[:, :, None])
    free = np.maximum(1 - chance, 1e-9)
    low = (1 - chance) * share
    out = np.empty_like(steps)
    for index, level in enumerate(LEVELS):
        moved = np.where(level < low, level, level - chance) / free
        inside = (level >= low) & (level <= low + chance)
        other = value_at(steps, np.clip(moved, OUTER, 1 - OUTER)[None])[0]
        out[:, :, index] = np.where(inside, point, other)
    return tidy(out)


def _share_below(steps: Array, point: Array) -> Array:
    """How much of each distribution lies below a point, to the nearest step between quantiles."""
    count = (steps < point).sum(axis=-1)
    middle = (count + 0.5) / (len(LEVELS) + 1)
    return np.asarray(np.where(count == 0, 0.0, np.where(count == len(LEVELS), 1.0, middle)), dtype=np.float64)
