"""The sum over a horizon: several opinions of its level, their median, and how far they and the steps spread.

Which stretch of the past a bill will look like is not known: the last days, the last period, or all there is. No single
one is best everywhere, but their median together with what the models say is better than each of them.
"""

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
SHORTEST = 3
"""Seasons of the shortest stretch."""

LONGEST = 60
"""Seasons of the longest stretch."""

MODEL_SHARE = 0.7
"""How much counts of the models' spread: a root mean square is larger than most of what it is the mean of."""

NEAR_WEIGHT = 4.0
"""Weight of a model's opinion on the very next windows; one on seven seasons or more has the weight of any other."""


def level_opinions(values: Array, season: int, horizon: int) -> Array:
    """Sums over the horizon (opinions, series) if each phase went on as on average over a stretch of the past.

    The stretches are three seasons, one and two horizons, and all of the past.
    """
    width = values.shape[1]
    season = max(1, min(season, width))
    phases = np.bincount(np.arange(horizon) % season, minlength=season).astype(np.float64)
    lengths = stretches(season, horizon)
    if _kernels is None:
        return _levels(values, phases, lengths)
    out = np.empty((len(lengths), len(values)))
    given = np.ascontiguousarray(values, dtype=np.float64), phases, np.array(lengths, dtype=np.int64)
    _kernels.level_opinions(*given, out, *values.shape, horizon, 1)
    return out


def _levels(values: Array, phases: Array, lengths: tuple[int, ...]) -> Array:
    """What the compiled function does."""
    width, season = values.shape[1], len(phases)
    whole = width // season
    folded = values[:, width - whole * season :].reshape(len(values), whole, season)
    known, filled = np.isfinite(folded), np.nan_to_num(folded)
    out = []
    for length in lengths:
        part, there = filled[:, -length:], known[:, -length:]
        mean = part.sum(axis=(1, 2)) / np.maximum(there.sum(axis=(1, 2)), 1)
        count = there.sum(axis=1)
        at = np.where(count > 0, part.sum(axis=1) / np.maximum(count, 1), mean[:, None])
        out.append(at @ phases)
    return np.stack(out)


def stretches(season: int, horizon: int) -> tuple[int, ...]:
    """Lengths in seasons of the stretches that have an opinion."""
    ahead = -(-horizon // season)
    return SHORTEST, ahead, 2 * ahead, LONGEST


def opinion_weights(trust: Array, season: int, horizon: int) -> Array:
    """Weights (opinions, series) of stretches, as ``trust`` (stretches, series) has them, and of the models.

    The steps' own sum comes next, and a direct forecast of the sum, which counts half. Models know more of the very
    next windows, and their weight is larger there.
    """
    model = NEAR_WEIGHT + (1 - NEAR_WEIGHT) * min(1.0, horizon / (7 * season))
    return np.concatenate([trust, np.broadcast_to([[model], [model / 2]], (2, trust.shape[1]))])


def agreed(opinions: Array, weights: Array, spread: Array) -> Array:
    """Quantiles of the sum (series, levels): weighted ones of opinions, and the models' spread.

    Opinions and their weights have shape (opinions, series); ``spread`` is how far the quantiles of the sum lie from
    their median where the level is known (series, levels). Its variance and that of the opinions add up (the law of
    total variance).
    """
    order = np.argsort(opinions, axis=0, kind="stable")
    ranked = np.take_along_axis(opinions, order, axis=0)
    mass = np.take_along_axis(weights, order, axis=0) / weights.sum(axis=0)
    middle = np.cumsum(mass, axis=0) - mass / 2
    # Opinions are points, not a sample: the outer ones are the ends of what is thought possible.
    span = (middle - middle[:1]) / np.maximum(middle[-1:] - middle[:1], 1e-12)
    out = _read(span, ranked)
    centre = len(LEVELS) // 2
    median = out[:, centre : centre + 1]
    sides = np.sign(np.asarray(LEVELS) - LEVELS[centre])
    return tidy(median + sides * np.hypot(out - median, MODEL_SHARE * spread))


def _read(span: Array, ranked: Array) -> Array:
    """Values (series, levels) at `LEVELS` of rising ``ranked`` (opinions, series) that lie at ``span`` (same)."""
    out = np.empty((span.shape[1], len(LEVELS)))
    row, last = np.arange(span.shape[1]), len(span) - 1
    for place, level in enumerate(LEVELS):
        above = np.clip((span < level).sum(axis=0), 1, last)
        low, high = span[above - 1, row], span[above, row]
        part = np.clip((level - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
        out[:, place] = ranked[above - 1, row] + part * (ranked[above, row] - ranked[above - 1, row])
    return out


def with_totals(paths: Array, totals: Array) -> Array:
    """Paths (count, series, horizon) scaled so that their sums are distributed as ``totals`` (series, levels) say.

    A path keeps its rank and its shape, so the dependence between series stays.
    """
    sums = paths.sum(axis=2)
    count = len(paths)
    rank = np.argsort(np.argsort(sums, axis=0, kind="stable"), axis=0, kind="stable")
    wanted = value_at(totals, (rank + 0.5) / count)
    factor = np.divide(wanted, sums, out=np.ones_like(sums), where=sums > 0)
    return np.asarray(paths * factor[:, :, None], dtype=np.float64)
