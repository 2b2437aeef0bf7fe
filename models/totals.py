"""The sum over a horizon: several opinions of its level, their median, and how far they and the steps spread.

Which stretch of the past a bill will look like is not known: the last days, the last period, or all there is. No single
one is best everywhere, but their median together with what the models say is better than each of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS
from models.quantiles import tidy, value_at

Array = NDArray[np.float64]
SHORTEST = 3
"""Seasons of the shortest stretch."""

LONGEST = 60
"""Seasons of the longest stretch."""

MODEL_SHARE = 0.3
"""How much of the spread that the models see comes on top of the spread of the opinions."""

NEAR_WEIGHT = 4.0
"""Weight of a model's opinion on the very next windows; one on seven seasons or more has the weight of any other."""


def level_opinions(values: Array, season: int, horizon: int) -> Array:
    """Sums over the horizon (opinions, series) if each phase went on as on average over a stretch of the past.

    The stretches are three seasons, one and two horizons, and all of the past.
    """
    width = values.shape[1]
    season = max(1, min(season, width))
    whole = width // season
    folded = values[:, width - whole * season :].reshape(len(values), whole, season)
    known, filled = np.isfinite(folded), np.nan_to_num(folded)
    phases = np.bincount(np.arange(horizon) % season, minlength=season)
    ahead = -(-horizon // season)
    out = []
    for length in (SHORTEST, ahead, 2 * ahead, LONGEST):
        part, there = filled[:, -length:], known[:, -length:]
        mean = part.sum(axis=(1, 2)) / np.maximum(there.sum(axis=(1, 2)), 1)
        count = there.sum(axis=1)
        at = np.where(count > 0, part.sum(axis=1) / np.maximum(count, 1), mean[:, None])
        out.append(at @ phases)
    return np.stack(out)


def opinion_weights(levels: int, season: int, horizon: int) -> Array:
    """Weights of ``levels`` stretches, of the steps' own sum and of a direct forecast of it, which counts half.

    Models know more of the very next windows, and their weight is larger there.
    """
    model = NEAR_WEIGHT + (1 - NEAR_WEIGHT) * min(1.0, horizon / (7 * season))
    return np.array([1.0] * levels + [model, model / 2])


def agreed(opinions: Array, weights: Array, spread: Array, width: float) -> Array:
    """Quantiles of the sum (series, levels): weighted ones of opinions (opinions, series), and the models' spread.

    ``spread`` is how far the models' quantiles of the sum lie from their median (series, levels); ``width`` stretches
    distances from the median.
    """
    order = np.argsort(opinions, axis=0, kind="stable")
    ranked = np.take_along_axis(opinions, order, axis=0)
    mass = weights[order] / weights.sum()
    middle = np.cumsum(mass, axis=0) - mass / 2
    # Opinions are points, not a sample: the outer ones are the ends of what is thought possible.
    span = (middle - middle[:1]) / np.maximum(middle[-1:] - middle[:1], 1e-12)
    out = _read(span, ranked)
    centre = len(LEVELS) // 2
    out = out + MODEL_SHARE * spread
    median = out[:, centre : centre + 1]
    return tidy(median + width * (out - median))


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
