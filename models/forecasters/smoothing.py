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
from models.quantiles import tidy

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
        run = _Run(roots, season, [*origins, width])
        middle = run.ahead(width, horizon)
        misses = [roots[:, None, at : at + horizon] - run.ahead(at, min(horizon, width - at)) for at in origins]
        spread = _spread(misses, season, horizon, len(roots))
        each = np.maximum(middle[..., None] + spread, 0.0) ** 2
        return tidy(np.einsum("sgha,sg->sha", each, _weights(misses, len(roots))))

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


def _spread(misses: list[Array], season: int, horizon: int, series: int) -> Array:
    """Quantiles of misses by seasons ahead (series, shares, horizon, levels); far ones as the last that is known."""
    out = np.zeros((series, len(SHARES), horizon, len(LEVELS)))
    found = np.zeros((series, len(SHARES), len(LEVELS)))
    for first in range(0, horizon, season):
        parts = [part[:, :, first : first + season] for part in misses if part.shape[2] > first]
        if parts and sum(part.shape[2] for part in parts) >= min(season, 2 * ORIGINS):
            found = _quantiles(np.concatenate(parts, axis=2))
        out[:, :, first : first + season] = found[:, :, None, :]
    return out


def _quantiles(values: Array) -> Array:
    """Quantiles over the last axis of what is known, levels last; 0 where nothing is."""
    ranked = np.sort(values, axis=2)  # missing values come last
    known = np.isfinite(ranked).sum(axis=2)
    place = np.asarray(LEVELS) * np.maximum(known - 1, 0)[..., None]
    low = place.astype(np.int64)
    high = np.minimum(low + 1, np.maximum(known - 1, 0)[..., None])
    lower, upper = np.take_along_axis(ranked, low, axis=2), np.take_along_axis(ranked, high, axis=2)
    return np.where(known[..., None] > 0, np.nan_to_num(lower + (place - low) * (upper - lower)), 0.0)


def _weights(misses: list[Array], series: int) -> Array:
    """How much each pair of shares counts in each series (series, shares)."""
    if not misses:
        return np.full((series, len(SHARES)), 1 / len(SHARES))
    size = np.abs(np.concatenate(misses, axis=2))
    known = np.isfinite(size)
    mean = np.where(known, size, 0.0).sum(axis=2) / np.maximum(known.sum(axis=2), 1)
    relative = mean / np.maximum(mean.mean(axis=1, keepdims=True), 1e-12)
    weights = np.exp(-RATE * (relative - relative.min(axis=1, keepdims=True)))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)
