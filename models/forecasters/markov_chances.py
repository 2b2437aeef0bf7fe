"""Chances of the Markov model: how often a state followed another, shrunk to what all series say, and carried on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.forecasters.markov_states import BINS, States, pair_counts, phase_counts

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
Phases = NDArray[np.int64]
SHRINKAGE = 10.0
"""The pooled counts weigh as much as so many windows of the series itself."""


class Chances(NamedTuple):
    """Of each series: chances of the next state after the last and after that of a season before, and at each phase.

    ``last`` and ``seasonal`` have shape (series, BINS, BINS), ``phase`` (series, season, BINS). ``belief`` (series,
    BINS) is in which state it is, ``known`` (series, lag, BINS) in which it was.
    """

    last: Array
    seasonal: Array
    phase: Array
    belief: Array
    known: Array


def chances(states: States, phases: Phases, pooled: tuple[Array, Array], season: int, lag: int) -> Chances:
    """Chances counted from states (series, windows) at ``phases`` (windows) and, with their weight, ``pooled`` ones.

    Those are what all series say of the next state after the last, and after that of a season (``lag``) before.
    """
    series, width = states.shape
    if _kernels is not None:
        square = (series, BINS, BINS)
        shapes = (square, square, (series, season, BINS), (series, BINS), (series, lag, BINS))
        out = Chances(*(np.empty(shape) for shape in shapes))
        prior = SHRINKAGE * pooled[0], SHRINKAGE * pooled[1]
        _kernels.state_chances(states, phases, *prior, *out, series, width, season, lag, BINS, SHRINKAGE / 2)
        return out
    last = _shrunk(pair_counts(states[:, :-1], states[:, 1:], BINS), pooled[0])
    seasonal = _shrunk(pair_counts(states[:, :-lag], states[:, lag:], BINS), pooled[1])
    base = np.stack([(states == state).mean(axis=1) for state in range(BINS)], axis=1) + 1e-6
    phase = normal(phase_counts(states, phases, season) + SHRINKAGE / 2 * normal(base)[:, None, :])
    known = np.stack([_one_hot(states[:, width - lag + step]) for step in range(lag)], axis=1)
    return Chances(last, seasonal, phase, _one_hot(_last_known(states)), known)


def carried(found: Chances, at: Phases, weights: Array) -> Array:
    """Probabilities (series, horizon, BINS) of the states to come, at phases ``at`` (horizon).

    ``weights`` are those of the three experts: last state, that of a season before, and phase. Beyond the windows that
    are known, the state of a season before is what was found for it.
    """
    last, seasonal, phase, belief, known = found
    series, horizon, lag = len(belief), len(at), known.shape[1]
    out = np.empty((series, horizon, BINS))
    if _kernels is not None:
        sizes = (series, BINS, phase.shape[1], horizon, lag)
        _kernels.chains(last, seasonal, phase, at, weights, belief, known, out, *sizes)
        return out
    for step in range(horizon):
        before = known[:, step] if step < lag else out[:, step - lag]
        experts = (
            np.einsum("sa,sab->sb", belief, last),
            np.einsum("sa,sab->sb", before, seasonal),
            phase[:, at[step]],
        )
        mixed = sum(weight * expert for weight, expert in zip(weights, experts, strict=True))
        belief = out[:, step] = mixed / mixed.sum(axis=1, keepdims=True)
    return out


def _last_known(states: States) -> NDArray[np.int64]:
    index = np.where(states >= 0, np.arange(states.shape[1]), -1).max(axis=1)
    return np.where(index >= 0, states[np.arange(len(states)), index], 0)


def _one_hot(states: States) -> Array:
    """Certainty of a state; an even belief where it is missing."""
    hot = np.eye(BINS)[np.maximum(states, 0)]
    return np.where((states >= 0)[:, None], hot, 1.0 / BINS)


def _shrunk(counts: Array, pooled: Array) -> Array:
    return normal(counts + SHRINKAGE * pooled[None])


def normal(counts: Array) -> Array:
    """Counts as shares of their sum over the last axis."""
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True), dtype=np.float64)
