"""Scales on which the errors of a series are about equally large at every level: square roots and logarithms."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
SCALES = ("root", "log")
OFFSETS = {"root": 0.02, "log": 0.1}
"""Added to values, in units of the mean of a series, so that zeros have a place on the scale."""

LARGEST = 20.0
"""No forecast on the logarithmic scale reaches further: half a billion times the mean."""

LEAST = 1e-6
"""Less, in units of the mean of a series, is nothing."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """Series on a scale, around zero; missing values lie where the same phase of other seasons does.

    ``values`` (series, windows), ``middle`` (series, 1) was taken off them, ``mean`` (series, 1) is the mean of the
    series itself, ``slopes`` (series, windows) the logarithm of how much the scale
    magnifies each window (the Jacobian), 0 for a missing one.
    """

    values: Array
    middle: Array
    mean: Array
    slopes: Array


def scaled(past: Array, scale: str, season: int) -> Scaled:
    """Series (series, windows) on a scale of `SCALES`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # series without any known value
        mean = np.nanmean(np.maximum(past, 0.0), axis=1, keepdims=True)
        mean = np.where(np.isfinite(mean) & (mean > 0), mean, 1.0)
        moved = np.maximum(past, 0.0) / mean + OFFSETS[scale]
        values = np.sqrt(moved) if scale == "root" else np.log(moved)
        middle = np.nan_to_num(np.nanmean(values, axis=1, keepdims=True))
    slope = np.log(0.5) - 0.5 * np.log(moved) if scale == "root" else -np.log(moved)
    return Scaled(_filled(values - middle, season), middle, mean, np.nan_to_num(slope))


def unscaled(values: Tensor, part: Scaled, scale: str) -> Tensor:
    """Values (series, ...) around zero on a scale, as they are: never negative, and 0 where they all but vanish."""
    shape = (-1,) + (1,) * (values.ndim - 1)
    moved = values + torch.as_tensor(part.middle, dtype=values.dtype).reshape(shape)
    plain = moved.clamp(min=0.0).square() if scale == "root" else moved.clamp(max=LARGEST).exp()
    plain = plain - OFFSETS[scale]
    return torch.where(plain > LEAST, plain, 0.0) * torch.as_tensor(part.mean, dtype=values.dtype).reshape(shape)


def _filled(values: Array, season: int) -> Array:
    """Values in which what is missing is the mean of its phase, or zero where that is never known."""
    known = np.isfinite(values)
    holes = np.nonzero(~known.all(axis=1))[0]
    if not len(holes):
        return values
    out = np.nan_to_num(values)
    phase = np.arange(values.shape[1]) % season
    for place in range(min(season, values.shape[1])):
        at = np.ix_(holes, np.nonzero(phase == place)[0])
        mean = out[at].sum(axis=1, keepdims=True) / np.maximum(known[at].sum(axis=1, keepdims=True), 1)
        out[at] = np.where(known[at], out[at], mean)
    return out
