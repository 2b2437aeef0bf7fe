"""NPTS: past values of the same time of day and of lately, weighted, are the distribution of what comes.

The non-parametric time series forecaster (Gasthaus, 2016; "NPTS" in GluonTS): the quantiles of a window to come are
the weighted quantiles of the series' own past. The weight of a past window falls with its age as a power, more
slowly the further ahead the forecast reaches, falls exponentially with its distance in phase within the season, and
is larger on the same day of the week. It needs no training, never leaves what was seen, and keeps zeros as zeros.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from models.contracts import LEVELS, State
from models.dependence import Dependence
from models.forecasters.quantile_model import QuantileModel
from models.panel import Panel
from models.quantiles import tidy

Array = NDArray[np.float64]
DAY_NS = 86_400 * 1_000_000_000
BINS = 64
EXACT = 2.0**22
ROWS = 128
"""So many series at a time, so that what is computed stays in the processor's cache."""


@dataclass(frozen=True, slots=True)
class NptsConfig:
    """Shape of the weights; lengths are shares of a season, so that one setting serves windows of any length."""

    power: float = 1.5
    offset: float = 0.5
    reach: float = 0.5
    width: float = 1 / 24
    same_weekday: float = 3.0
    seasons: int = 21


class Npts(QuantileModel):
    """Weighted quantiles of each series' own past; see the module's docstring."""

    name: ClassVar[str] = "npts"

    def __init__(self, config: NptsConfig | None = None) -> None:
        super().__init__()
        self._config = config or NptsConfig()

    def quantiles(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the next windows alone: (series, horizon, levels)."""
        past = panel.values[:, -self._config.seasons * panel.season :]
        weights, place = np.unique(self._weights(panel, past.shape[1], horizon), axis=0, return_inverse=True)
        parts = [_weighted(past[first : first + ROWS], weights) for first in range(0, len(past), ROWS)]
        return tidy(np.concatenate(parts)[:, place.reshape(-1)])

    def state(self) -> State:
        """The setting and the dependence."""
        return State({"config": asdict(self._config), "dependence": asdict(self._dependence)}, {})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The model that `state` described."""
        document: dict[str, Any] = dict(state.document)
        model = cls(NptsConfig(**document["config"]))
        model._dependence = Dependence(**document["dependence"])
        return model

    def _weights(self, panel: Panel, width: int, horizon: int) -> NDArray[np.float32]:
        """Weight of every past window for every step: (horizon, width)."""
        config, season = self._config, panel.season
        back = width - np.arange(width)
        ahead = np.arange(horizon)[:, None]
        age = back + (config.offset + config.reach * (ahead // season)) * season
        apart = (back + ahead) % season
        apart = np.minimum(apart, season - apart)
        # Ages relative to the youngest, or a steep power would underflow for long seasons.
        weights = (age / age.min(axis=1, keepdims=True)) ** -config.power
        weights = weights * np.exp(-apart / (config.width * season))
        if season * panel.window_ns == DAY_NS:
            days = (back + ahead + season // 2) // season
            weights = weights * np.where(days % 7 == 0, config.same_weekday, 1.0)
        # Whole numbers whose sums a float holds exactly: the answer is the same in whatever order they are added up.
        return np.asarray(np.rint(weights / weights.sum(axis=1, keepdims=True) * EXACT), dtype=np.float32)


def _weighted(past: Array, weights: NDArray[np.float32]) -> Array:
    """Weighted quantiles (series, kinds, levels) of the past (series, width) by weights (kinds, width).

    Values are gathered in bins of about equal count first, each at the mean of its values: the weights of a bin are
    one product of matrices, where sorting by value would take one pass for every kind of weights.
    """
    bins, points = _binned(past)
    one_of = (torch.as_tensor(bins)[:, :, None] == torch.arange(BINS)).to(torch.float32)
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


def _binned(past: Array) -> tuple[NDArray[np.int64], Array]:
    """Bin of every value (series, width), `BINS` where it is missing, and rising means of the bins (series, BINS).

    Equal values share a bin; a bin without values has the mean of the one before, or of the first that has some.
    """
    series, width = past.shape
    order = np.argsort(past, axis=1, kind="stable")  # missing values come last
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
    bins = np.empty((series, width), dtype=np.int64)
    np.put_along_axis(bins, order, ranked_bin, axis=1)
    return bins, points
