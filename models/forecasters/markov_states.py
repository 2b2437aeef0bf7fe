"""States of the Markov model: quantile bins of a series, one bin for zero alone, and how long it has stood still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.quantiles import quantiles_of_ranked

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
States = NDArray[np.int8]
Spells = NDArray[np.int64]

BINS = 9
POINTS = 5
"""Representative values of a bin."""

EARLY = 8
"""Nights begin and end earlier or later by at most a season through this."""

WEEK = 7
"""Seasons in the longer cycle."""

SPANS = np.array([1, 2, 4, 8, 16, 32, 64, 128])
"""Spells of standing still are told apart by these lengths, in windows."""


@dataclass(frozen=True, slots=True)
class Binned:
    """States (series, windows), -1 where missing, and the values that stand for each state (series, BINS, POINTS)."""

    states: States
    points: Array


def binned(values: Array) -> Binned:
    """Bin every series by its own positive quantiles; state 0 is zero, states 1 to BINS - 1 rise with the value."""
    known = np.isfinite(values)
    ranked = np.sort(np.where(known & (values > 0), values, np.nan), axis=1)  # missing values come last
    edges = quantiles_of_ranked(ranked, np.linspace(0, 1, BINS))
    fine = quantiles_of_ranked(ranked, (np.arange((BINS - 1) * POINTS) + 0.5) / ((BINS - 1) * POINTS))
    points = np.concatenate([np.zeros((len(values), 1, POINTS)), fine.reshape(len(values), BINS - 1, POINTS)], axis=1)
    return Binned(_states(values, np.ascontiguousarray(edges[:, 1:-1])), points)


def _states(values: Array, edges: Array) -> States:
    """The state of every value among the inner edges (series, BINS - 2)."""
    if _kernels is not None:
        out = np.empty(values.shape, dtype=np.int8)
        _kernels.states_of(np.ascontiguousarray(values, dtype=np.float64), edges, out, *values.shape, edges.shape[1])
        return out
    states = np.ones(values.shape, dtype=np.int8)
    for edge in edges.T:
        states += values > edge[:, None]
    return np.where(np.isfinite(values), np.where(values > 0, states, 0), -1).astype(np.int8)


def standing(values: Array) -> Spells:
    """For how many windows each value has stood exactly still, 0 for one that just changed; shape of ``values``."""
    if _kernels is not None:
        out = np.empty(values.shape, dtype=np.int64)
        _kernels.standing(np.ascontiguousarray(values, dtype=np.float64), out, *values.shape)
        return out
    same = np.zeros(values.shape, dtype=bool)
    same[:, 1:] = values[:, 1:] == values[:, :-1]
    index = np.arange(values.shape[1])
    last_change = np.maximum.accumulate(np.where(same, 0, index), axis=1)
    return index - last_change


def unusual(values: Array, season: int) -> Spells:
    """For how many windows each spell of standing still (`standing`) has been out of the ordinary; shape of ``values``.

    A window is ordinary if another spell, which lasted as long, stood at the same value around this time a season or a
    week before: a shop that is shut at night, or on Sundays, has not been switched off.
    """
    off = season // EARLY
    shifts = range(-off, off + 1, max(1, off // 3))
    lags = sorted({cycle * season + shift for cycle in (1, WEEK) for shift in shifts})
    if _kernels is None:
        return _unusual(values, lags, off)
    out, known = np.empty(values.shape, dtype=np.int64), np.array(lags, dtype=np.int64)
    _kernels.unusual(np.ascontiguousarray(values, dtype=np.float64), known, out, *values.shape, off)
    return out


def _unusual(values: Array, lags: list[int], off: int) -> Spells:
    """What the compiled function does: ``lags`` are how far back is looked, spells may lack ``off`` windows."""
    still = standing(values)
    place = np.arange(values.shape[1])
    ends = np.concatenate([still[:, 1:] == 0, np.ones((len(values), 1), dtype=bool)], axis=1)
    end = np.minimum.accumulate(np.where(ends, place, values.shape[1])[:, ::-1], axis=1)[:, ::-1]
    lasted = still + end - place
    lasted = np.where(lasted > 0, lasted + off, 0)
    ordinary = np.zeros(values.shape, dtype=bool)
    for lag in lags:
        if 0 < lag < values.shape[1]:
            now, before = still[:, lag:], lasted[:, :-lag]
            ordinary[:, lag:] |= (before >= np.maximum(now, 1)) & (now < lag) & (values[:, lag:] == values[:, :-lag])
    count = np.cumsum((still > 0) & ~ordinary, axis=1)
    began = place - still
    return np.where(still > 0, count - np.take_along_axis(count, began, axis=1), 0)


def span_of(still: Spells) -> Spells:
    """Which span of `SPANS` a spell is in; 0 for none."""
    return np.searchsorted(SPANS, still, side="right")


def pair_counts(before: States, after: States, size: int) -> Array:
    """How often state a was followed by b in each series: (series, windows) pairs -> (series, size, size)."""
    count = len(before)
    valid = (before >= 0) & (after >= 0)
    row = np.broadcast_to(np.arange(count)[:, None], before.shape)
    flat = (row * size + before) * size + after
    return np.bincount(flat[valid], minlength=count * size * size).reshape(count, size, size).astype(np.float64)


def phase_counts(states: States, phases: Spells, season: int) -> Array:
    """How often each state occurred at each phase of the season: (series, season, BINS)."""
    count = len(states)
    valid = states >= 0
    row = np.broadcast_to(np.arange(count)[:, None], states.shape)
    flat = (row * season + phases[None, :]) * BINS + states
    return np.bincount(flat[valid], minlength=count * season * BINS).reshape(count, season, BINS).astype(np.float64)
