"""How well stretches of the past foretold the sums that then came: how much each is trusted, and how far off they were.

No model is asked, only sums are compared, so this can be done for every series at every forecast. A sum over a horizon
is rarely seen more than a few times in a history: what a series shows itself is mixed with what is usual.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
MOST = 14
"""So many past origins at most, a season apart."""

PRIOR = 2.0
"""Horizons' worth of what is usual in how far off sums lie; a series' own past counts by the horizons in it."""

PRIOR_SERIES = 20.0
"""Series' worth of sums that lie as far off as the models say, in what is usual."""

RATE = 4.0
"""How fast a stretch loses its say with its relative error."""

OWN_SHARE = 0.8
"""How much of the error that decides is the series' own; the rest is that of all series."""

NORMAL_P90 = 1.281552
STEEPEST = 3.0
"""A trend is taken for no steeper than this a horizon, up or down."""

PRIOR_TRIALS = 5.0
"""Horizons' worth of what trends of all series were good for, in what one of a series is thought to be."""

DAMPING = 0.5
"""The power of a past growth that is expected to go on: trends die away (Gardner & McKenzie, 1985)."""


@dataclass(frozen=True, slots=True)
class PastSums:
    """Errors of stretches (stretches, series) and mean squared ones of their median (series), over past origins.

    ``horizons`` (series) is how many horizons of independent sums they stand for; 0 where there is none. The last
    stretch is the trend; its error is NaN where a trend has not foretold sums better than none.
    """

    errors: Array
    squared: Array
    horizons: Array

    @property
    def trust(self) -> Array:
        """Weights of the stretches (stretches, series), 1 on average: exp(-rate x relative error) as in Hedge.

        A trend that has not foretold better than its stretch alone has none.
        """
        tried = np.isfinite(self.errors)
        errors = np.where(tried, self.errors, 0.0)
        whole = errors.sum(axis=0) / tried.sum(axis=0)
        relative = np.divide(errors, whole, out=np.ones_like(errors), where=whole > 0)
        usual = (relative * tried).sum(axis=1, keepdims=True) / np.maximum(tried.sum(axis=1, keepdims=True), 1)
        relative = OWN_SHARE * relative + (1 - OWN_SHARE) * usual
        weights = np.where(tried, np.exp(-RATE * (relative - np.where(tried, relative, np.inf).min(axis=0))), 0.0)
        return np.asarray(weights * len(weights) / weights.sum(axis=0), dtype=np.float64)

    def usual(self, spread: Array) -> float:
        """How much further off sums usually lay than a spread (series, levels) says; nearer to 1 the fewer series."""
        deviation = _deviation(spread)
        used = (self.horizons > 0) & (deviation > 0) & (self.squared > 0)
        if not used.any():
            return 1.0
        found = np.median(np.log(self.squared[used] / deviation[used] ** 2)) / 2
        return float(np.exp(found * used.sum() / (used.sum() + PRIOR_SERIES)))

    def grown(self, spread: Array, usual: float) -> Array:
        """The spread (series, levels) made as wide as past sums were off; ``usual`` as the method of that name says."""
        deviation = _deviation(spread)
        expected = (self.horizons * self.squared + PRIOR * (usual * deviation) ** 2) / (self.horizons + PRIOR)
        factor = np.divide(np.sqrt(expected), deviation, out=np.zeros_like(deviation), where=deviation > 0)
        return np.asarray(np.where(self.horizons > 0, factor, 1.0)[:, None] * spread, dtype=np.float64)


def past_sums(values: Array, season: int, horizon: int, lengths: tuple[int, ...]) -> PastSums:
    """Errors of levels over the last ``lengths`` seasons, and of the second's trend, as forecasts of sums.

    ``values`` (series, windows), sums over ``horizon`` windows; the shortest stretch lies before the first origin. A
    sum of which less than half is known counts nowhere.
    """
    series, end = len(values), values.shape[1] - horizon
    whole = max(0, end // season)
    origins = np.arange(whole, max(whole - MOST, min(lengths) - 1), -1)
    if not len(origins):
        errors = np.zeros((len(lengths) + 1, series))
        errors[-1] = np.nan
        return PastSums(errors, np.zeros(series), np.zeros(series))
    came, *levels, before = _foretold(values, season, horizon, spans(lengths), origins)
    before = np.where(origins >= 2 * lengths[1], before, np.nan)
    levels.append(trend(levels[1], before))
    return _summary(came - np.stack(levels), np.isfinite(before), season, horizon)


def spans(lengths: tuple[int, ...]) -> Index:
    """How many seasons before an origin each stretch ends, and how many it is long, (stretches + 1, 2).

    The last is the one before the second, whose trend is looked at.
    """
    return np.array([*((0, length) for length in lengths), (lengths[1], lengths[1])], dtype=np.int64)


def _foretold(values: Array, season: int, horizon: int, stretches: Index, origins: Index) -> Array:
    """Sums that came after each origin, then what stretches foretold (1 + stretches, series, origins); NaN: unknown."""
    series, end = len(values), values.shape[1] - horizon
    phases = np.bincount(np.arange(horizon) % season, minlength=season).astype(np.float64)
    if _kernels is not None:
        out = np.empty((len(stretches) + 1, series, len(origins)))
        given = np.ascontiguousarray(values, dtype=np.float64), phases, stretches
        _kernels.foretold_sums(*given, out, *values.shape, horizon, len(origins))
        return out
    known, filled = np.isfinite(values), np.nan_to_num(values)
    whole = end // season
    first = end - whole * season
    sums, counts = (_before(part[:, first:end].reshape(series, whole, season) @ phases) for part in (filled, known))
    starts = first + origins * season
    came, seen = (part[:, starts + horizon] - part[:, starts] for part in map(_before, (filled, known)))
    found = [np.divide(came * horizon, seen, out=np.full(came.shape, np.nan), where=seen > horizon / 2)]
    for skip, length in stretches:
        until = np.maximum(origins - skip, 0)
        total, count = (part[:, until] - part[:, np.maximum(until - length, 0)] for part in (sums, counts))
        found.append(np.divide(total * horizon, count, out=np.full(came.shape, np.nan), where=count > 0))
    return np.stack(found)


def trend(level: Array, before: Array) -> Array:
    """The level to come of two that lie as far apart (same shape); the last one where the one before says nothing."""
    grown = np.divide(level, before, out=np.ones_like(level), where=(before > 0) & np.isfinite(before))
    return np.asarray(level * np.clip(grown, 1 / STEEPEST, STEEPEST) ** DAMPING, dtype=np.float64)


def _summary(missed: Array, tried: NDArray[np.bool_], season: int, horizon: int) -> PastSums:
    """What to keep of errors (stretches, series, origins), NaN where there is none; ``tried`` says of the trend's."""
    there = np.asarray(np.isfinite(missed).all(axis=0))
    count = np.maximum(there.sum(axis=1), 1)
    missed = np.where(there, missed, 0.0)
    middle = np.where(tried, np.median(missed, axis=0), np.median(missed[:-1], axis=0))
    squared = (middle**2).sum(axis=1) / count
    # Sums whose horizons overlap are not independent.
    horizons = np.where(there.any(axis=1), 1 + (count - 1) * min(1.0, season / horizon), 0.0)
    size = np.abs(missed)
    errors = size.sum(axis=2) / count
    errors[-1] = errors[1] * _trend_ratio(size[-1], size[1], tried & there, season / horizon)
    return PastSums(errors, squared, horizons)


def _trend_ratio(trends: Array, levels: Array, tried: NDArray[np.bool_], fresh: float) -> Array:
    """Errors of trends over those of their own stretch (series,), NaN where trends were never tried or no better.

    Errors have shape (series, origins); of one origin to the next the share ``fresh`` of a sum is new. What a series
    shows itself hardly tells which trend will go on, what all series show does: a panel grows or it does not.
    """
    above, below = ((part * tried).sum(axis=1) for part in (trends, levels))
    count = tried.sum(axis=1)
    own = np.minimum(np.divide(above, below, out=np.ones_like(above), where=below > 0), STEEPEST)
    if not count.any():
        return np.full(len(own), np.nan)
    trials = 1 + (count - 1) * min(1.0, fresh)
    mixed = (trials * own + PRIOR_TRIALS * own[count > 0].mean()) / (trials + PRIOR_TRIALS)
    return np.where((count > 0) & (mixed < 1), mixed, np.nan)


def _before(values: Array) -> Array:
    """Sums of all columns before each, and of all (series, columns + 1)."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1, dtype=np.float64)], axis=1)


def _deviation(spread: Array) -> Array:
    """The normal deviation (series,) whose P10 to P90 is that of a spread (series, levels)."""
    return np.asarray((spread[:, -1] - spread[:, 0]) / (2 * NORMAL_P90), dtype=np.float64)
