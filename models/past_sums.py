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


@dataclass(frozen=True, slots=True)
class PastSums:
    """Errors of stretches (stretches, series) and mean squared ones of their median (series), over past origins.

    ``horizons`` (series) is how many horizons of independent sums they stand for; 0 where there is none.
    """

    errors: Array
    squared: Array
    horizons: Array

    @property
    def trust(self) -> Array:
        """Weights of the stretches (stretches, series), 1 on average: exp(-rate x relative error) as in Hedge."""
        count = len(self.errors)
        whole = self.errors.mean(axis=0)
        relative = np.divide(self.errors, whole, out=np.ones_like(self.errors), where=whole > 0)
        relative = OWN_SHARE * relative + (1 - OWN_SHARE) * relative.mean(axis=1, keepdims=True)
        weights = np.exp(-RATE * (relative - relative.min(axis=0)))
        return np.asarray(weights * count / weights.sum(axis=0), dtype=np.float64)

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
    """Errors of levels over the last ``lengths`` seasons as forecasts of sums over ``horizon`` windows.

    ``values`` (series, windows); the shortest stretch lies before the first origin. A sum of which less than half is
    known counts nowhere.
    """
    series, end = len(values), values.shape[1] - horizon
    whole = max(0, end // season)
    origins = np.arange(whole, max(whole - MOST, min(lengths) - 1), -1)
    if not len(origins):
        return PastSums(np.zeros((len(lengths), series)), np.zeros(series), np.zeros(series))
    phases = np.bincount(np.arange(horizon) % season, minlength=season).astype(np.float64)
    if _kernels is None:
        return _summary(_missed(values, phases, horizon, lengths, origins), season, horizon)
    missed = np.empty((len(lengths), series, len(origins)))
    given = np.ascontiguousarray(values, dtype=np.float64), phases, np.array(lengths, dtype=np.int64)
    _kernels.missed_sums(*given, missed, *values.shape, horizon, len(origins))
    return _summary(missed, season, horizon)


def _missed(values: Array, phases: Array, horizon: int, lengths: tuple[int, ...], origins: Index) -> Array:
    """How far sums that came lay above what each stretch foretold (stretches, series, origins); NaN where unknown."""
    series, season, end = len(values), len(phases), values.shape[1] - horizon
    whole = end // season
    known, filled = np.isfinite(values), np.nan_to_num(values)
    first = end - whole * season
    sums, counts = (_before(part[:, first:end].reshape(series, whole, season) @ phases) for part in (filled, known))
    starts = first + origins * season
    came, seen = (part[:, starts + horizon] - part[:, starts] for part in map(_before, (filled, known)))
    came = np.divide(came * horizon, seen, out=np.full(came.shape, np.nan), where=seen > horizon / 2)
    missed = []
    for length in lengths:
        since = np.maximum(origins - length, 0)
        total, count = (part[:, origins] - part[:, since] for part in (sums, counts))
        missed.append(came - np.divide(total * horizon, count, out=np.full(came.shape, np.nan), where=count > 0))
    return np.stack(missed)


def _summary(missed: Array, season: int, horizon: int) -> PastSums:
    """What to keep of errors (stretches, series, origins), NaN where there is none."""
    there = np.asarray(np.isfinite(missed).all(axis=0))
    count = np.maximum(there.sum(axis=1), 1)
    missed = np.where(there, missed, 0.0)
    squared = (np.median(missed, axis=0) ** 2).sum(axis=1) / count
    # Sums whose horizons overlap are not independent.
    horizons = np.where(there.any(axis=1), 1 + (count - 1) * min(1.0, season / horizon), 0.0)
    return PastSums(np.abs(missed).sum(axis=2) / count, squared, horizons)


def _before(values: Array) -> Array:
    """Sums of all columns before each, and of all (series, columns + 1)."""
    return np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1, dtype=np.float64)], axis=1)


def _deviation(spread: Array) -> Array:
    """The normal deviation (series,) whose P10 to P90 is that of a spread (series, levels)."""
    return np.asarray((spread[:, -1] - spread[:, 0]) / (2 * NORMAL_P90), dtype=np.float64)
