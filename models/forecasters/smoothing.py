"""Exponential smoothing: a level, a season and a week that follow the series, each by a share of every error.

The additive method of Holt (1957) and Winters (1960) without trend, on square roots, which makes the errors of counts
about equally large at every size. A few pairs of shares run side by side, and each series weighs them by how far they
missed at its last origins; the quantiles are those of its own misses, so many seasons ahead.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS, State
from models.dependence import Dependence
from models.forecasters.quantile_model import QuantileModel
from models.panel import Panel
from models.quantiles import quantiles_of_ranked, tidy

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
SHARES = ((0.02, 0.05), (0.1, 0.1), (0.3, 0.1), (0.05, 0.2))
"""Shares of an error that the level and the season take."""

WEEKLY = 0.1
"""Share of an error that the week takes."""

SEASONS = 42
"""So much of the past is smoothed."""

ORIGINS = 14
"""Misses are looked at from so many origins, half a season apart."""

RATE = 20.0
"""How strongly the smaller misses decide."""


class Smoothing(QuantileModel):
    """Seasonal exponential smoothing of many series at once; see the module's docstring."""

    name: ClassVar[str] = "smoothing"

    def quantiles(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the next windows: (series, horizon, levels)."""
        roots = np.sqrt(np.maximum(panel.values[:, -SEASONS * panel.season :], 0.0))
        season = max(1, min(panel.season, roots.shape[1] // 2))
        width = roots.shape[1]
        origins = [width - max(1, season // 2) * back for back in range(ORIGINS, 0, -1)]
        origins = [origin for origin in origins if origin >= min(3 * season, width // 2)]
        middle, misses, sizes = _smoothed(roots, season, origins, horizon)
        weights = _weights(sizes)
        out = np.zeros((len(roots), horizon, len(LEVELS)))
        spread = np.zeros((*sizes.shape, len(LEVELS)))
        for first in range(0, horizon, season):
            ahead = slice(first, first + season)
            spread = _spread(misses, origins, width, first, season, spread)
            for pair in range(len(SHARES)):
                each = np.maximum(middle[:, pair, ahead, None] + spread[:, pair, None, :], 0.0)
                out[:, ahead] += weights[:, pair, None, None] * each**2
        return tidy(out)

    def state(self) -> State:
        """The dependence."""
        return State({"dependence": asdict(self._dependence)}, {})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The model that `state` described."""
        document: dict[str, Any] = dict(state.document)
        model = cls()
        model._dependence = Dependence(**document["dependence"])
        return model


def _smoothed(roots: Array, season: int, origins: list[int], horizon: int) -> tuple[Array, Array, Array]:
    """Roots expected from the end on (series, shares, horizon), misses from origins and their mean sizes.

    Misses (series, shares, origins, horizon) are NaN where nothing is known; their sizes have shape (series, shares).
    """
    if _kernels is None:
        return _smoothed_twin(roots, season, origins, horizon)
    series, width = roots.shape
    ahead = np.empty((series, len(SHARES), horizon))
    misses = np.empty((series, len(SHARES), len(origins), horizon))
    sizes = np.empty((series, len(SHARES)))
    level, phase = (np.array([pair[place] for pair in SHARES]) for place in (0, 1))
    at = np.array([*origins, width], dtype=np.int64)
    given = np.ascontiguousarray(roots)
    lengths = (series, width, season, 7 * season, horizon)
    _kernels.smoothed(given, level, phase, at, ahead, misses, sizes, WEEKLY, *lengths)
    return ahead, misses, sizes


def _smoothed_twin(roots: Array, season: int, origins: list[int], horizon: int) -> tuple[Array, Array, Array]:
    """What the compiled function does."""
    run = _Run(roots, season, [*origins, roots.shape[1]])
    misses = np.full((len(roots), len(SHARES), len(origins), horizon), np.nan)
    for place, at in enumerate(origins):
        inside = min(horizon, roots.shape[1] - at)
        misses[:, :, place, :inside] = roots[:, None, at : at + inside] - run.ahead(at, inside)
    known = np.isfinite(misses)
    sizes = np.where(known, np.abs(misses), 0.0).sum(axis=(2, 3)) / np.maximum(known.sum(axis=(2, 3)), 1)
    return run.ahead(roots.shape[1], horizon), misses, sizes


class _Run:
    """One pass over the roots (series, windows); what was known at each origin is kept."""

    def __init__(self, roots: Array, season: int, origins: list[int]) -> None:
        self._season = season
        series, width = roots.shape
        filled = np.where(np.isfinite(roots), roots, np.nan)
        count = np.maximum(np.isfinite(filled[:, : 7 * season]).sum(axis=1), 1)
        first = np.nansum(filled[:, : 7 * season], axis=1) / count
        self._level = np.repeat(first[:, None], len(SHARES), axis=1)
        self._phase = np.zeros((season, series, len(SHARES)))
        self._week = np.zeros((7 * season, series, len(SHARES)))
        self._kept: dict[int, tuple[Array, Array, Array]] = {}
        level, phase = (np.array([pair[place] for pair in SHARES]) for place in (0, 1))
        wanted = set(origins)
        for at in range(width + 1):
            if at in wanted:
                self._kept[at] = self._level.copy(), self._phase.copy(), self._week.copy()
            if at < width:
                self._learn(roots[:, at], at, level, phase)

    def _learn(self, now: Array, at: int, level: Array, phase: Array) -> None:
        place, week = at % self._season, at % (7 * self._season)
        miss = now[:, None] - self._level - self._phase[place] - self._week[week]
        miss = np.where(np.isfinite(miss), miss, 0.0)
        self._level = self._level + level * miss
        self._phase[place] += phase * (1 - level) * miss
        self._week[week] += WEEKLY * (1 - level) * miss

    def ahead(self, origin: int, horizon: int) -> Array:
        """Roots expected from an origin on: (series, shares, horizon)."""
        level, phase, week = self._kept[origin]
        at = origin + np.arange(horizon)
        sums = level[None] + phase[at % self._season] + week[at % (7 * self._season)]
        return np.maximum(np.moveaxis(sums, 0, 2), 0.0)


def _spread(misses: Array, origins: list[int], width: int, first: int, season: int, nearer: Array) -> Array:
    """Quantiles (series, shares, levels) of misses in the season from ``first`` on; ``nearer`` where few are known."""
    reaching = [origin for origin in origins if origin + first < width]
    part = misses[:, :, : len(reaching), first : first + season]
    count = sum(min(part.shape[3], width - first - origin) for origin in reaching)
    if not count or count < min(season, 2 * ORIGINS):
        return nearer
    ranked = np.sort(part.reshape(*part.shape[:2], -1), axis=2)  # missing values come last
    return quantiles_of_ranked(ranked, np.asarray(LEVELS))


def _weights(sizes: Array) -> Array:
    """How much each pair of shares counts in each series (series, shares), by mean absolute misses (same)."""
    relative = sizes / np.maximum(sizes.mean(axis=1, keepdims=True), 1e-12)
    weights = np.exp(-RATE * (relative - relative.min(axis=1, keepdims=True)))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)
