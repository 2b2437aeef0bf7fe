"""Weighted quantiles of many series' own past, under many kinds of weights at once.

Values are gathered in bins of about equal count first, each at the mean of its values, as sorting by value would take
one pass for every kind of weights. Compiled where that was possible; the twin in Python gives the same.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from models.contracts import LEVELS

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
Bins = NDArray[np.uint8]
Weights = NDArray[np.float32]
BINS = 64
EXACT = 2.0**22
"""Weights that are whole numbers with about this sum add up to the same in whatever order."""

ROWS = 128
"""So many series at a time in Python, so that what is computed stays in the processor's cache."""


class Binned(NamedTuple):
    """The bin of every value (series, width), `BINS` where it is missing, and rising means of the bins (series, BINS).

    Equal values share a bin; a bin without values has the mean of the one before, or of the first that has some.
    """

    bins: Bins
    points: Array

    def of(self, rows: NDArray[np.int64]) -> Binned:
        """Those of some series."""
        return Binned(self.bins[rows], self.points[rows])


def binned(past: Array) -> Binned:
    """The past (series, width), NaN where missing, in bins."""
    if _kernels is None:
        return _binned(past)
    given = np.ascontiguousarray(past, dtype=np.float64)
    out = Binned(np.empty(past.shape, dtype=np.uint8), np.empty((len(past), BINS)))
    _kernels.binned(given, np.sort(given, axis=1), *out, *past.shape, BINS)
    return out


def _binned(past: Array) -> Binned:
    """What the compiled function does."""
    series, width = past.shape
    order = np.argsort(past, axis=1)  # missing values come last
    ranked = np.take_along_axis(past, order, axis=1)
    known = np.isfinite(ranked)
    count = known.sum(axis=1, keepdims=True)
    new = np.concatenate([np.ones((series, 1), dtype=bool), ranked[:, 1:] != ranked[:, :-1]], axis=1)
    first = np.maximum.accumulate(np.where(new, np.arange(width), 0), axis=1)
    ranked_bin = np.where(known, first * BINS // np.maximum(count, 1), BINS)
    flat = (np.arange(series)[:, None] * (BINS + 1) + ranked_bin).reshape(-1)
    size = series * (BINS + 1)
    filled = np.bincount(flat, minlength=size).reshape(series, BINS + 1)[:, :BINS]
    sums = np.bincount(flat, np.where(known, ranked, 0.0).reshape(-1), size).reshape(series, BINS + 1)[:, :BINS]
    there = np.where(filled > 0, np.arange(BINS), -1)
    source = np.maximum.accumulate(there, axis=1)
    source = np.where(source >= 0, source, np.argmax(filled > 0, axis=1)[:, None])
    points = np.take_along_axis(sums / np.maximum(filled, 1), source, axis=1)
    bins = np.empty((series, width), dtype=np.uint8)
    np.put_along_axis(bins, order, ranked_bin.astype(np.uint8), axis=1)
    return Binned(bins, points)


def weighted_quantiles(past: Binned, weights: Weights) -> Array:
    """Quantiles (series, kinds, levels) of a past of some width by weights (kinds, width).

    Read off between the middles of bins; zero for a series without any value.
    """
    bins, points = past
    series, width = bins.shape
    if _kernels is None:
        parts = [_read(bins[at : at + ROWS], points[at : at + ROWS], weights) for at in range(0, series, ROWS)]
        return np.concatenate(parts) if parts else np.zeros((0, len(weights), len(LEVELS)))
    out = np.empty((series, len(weights), len(LEVELS)))
    given = np.ascontiguousarray(weights, dtype=np.float32)
    _kernels.weighted_quantiles(bins, points, given, np.asarray(LEVELS), out, series, width, len(weights), BINS)
    return out


def _read(bins: Bins, points: Array, weights: Weights) -> Array:
    """What the compiled function does: masses of bins as one product of matrices, and their quantiles."""
    one_of = (torch.as_tensor(bins)[:, :, None] == torch.arange(BINS, dtype=torch.uint8)).to(torch.float32)
    mass = torch.matmul(torch.as_tensor(weights), one_of)
    middle = (mass.cumsum(dim=2) - mass / 2) / mass.sum(dim=2, keepdim=True).clamp(min=1e-30)
    levels = torch.tensor(LEVELS, dtype=torch.float32).expand(*mass.shape[:2], -1).contiguous()
    above = torch.searchsorted(middle, levels)
    high, low = above.clamp(max=BINS - 1), (above - 1).clamp(min=0)
    values = torch.as_tensor(points, dtype=torch.float64)[:, None, :].expand(-1, mass.shape[1], -1)
    before, after = middle.gather(2, low), middle.gather(2, high)
    part = ((levels - before) / (after - before).clamp(min=1e-12)).clamp(0, 1).to(torch.float64)
    part = torch.where(high > low, part, 0.0)
    bottom = values.gather(2, low)
    return np.asarray((bottom + part * (values.gather(2, high) - bottom)).numpy(), dtype=np.float64)
