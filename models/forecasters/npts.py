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

from models.contracts import LEVELS, Forecast, State
from models.dependence import Dependence, estimate, sample_levels, scores, total_quantiles
from models.panel import Panel
from models.quantiles import tidy, value_at

Array = NDArray[np.float64]
DAY_NS = 86_400 * 1_000_000_000
ORIGINS = 4


@dataclass(frozen=True, slots=True)
class NptsConfig:
    """Shape of the weights; lengths are shares of a season, so that one setting serves windows of any length."""

    power: float = 1.5
    offset: float = 0.5
    reach: float = 0.5
    width: float = 1 / 24
    same_weekday: float = 3.0
    seasons: int = 21


class Npts:
    """Weighted quantiles of each series' own past; see the module's docstring."""

    name: ClassVar[str] = "npts"

    def __init__(self, config: NptsConfig | None = None) -> None:
        self._config = config or NptsConfig()
        self._dependence = Dependence()

    def fit(self, panel: Panel, horizon: int) -> Self:
        """Estimate the dependence of errors at the last origins; returns itself."""
        found = []
        reach = max(1, min(horizon, panel.windows // (ORIGINS + 2)))
        for back in range(ORIGINS, 0, -1):
            cut = panel.windows - back * reach
            if cut >= 2:
                found.append(scores(panel.values[:, cut : cut + reach], self.quantiles(panel.until(cut), reach)))
        if found:
            self._dependence = estimate(np.stack(found), panel.tenants)
        return self

    def forecast(self, panel: Panel, horizon: int) -> Forecast:
        """Quantiles of the next windows and of their sum."""
        steps = self.quantiles(panel, horizon)
        return Forecast(LEVELS, steps, total_quantiles(steps, self._dependence))

    def quantiles(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the next windows alone: (series, horizon, levels)."""
        past = panel.values[:, -self._config.seasons * panel.season :]
        order = np.argsort(past, axis=1, kind="stable")  # missing values come last
        ranked = np.take_along_axis(past, order, axis=1)
        ranks, known = torch.as_tensor(order), torch.as_tensor(np.isfinite(ranked), dtype=torch.float32)
        filled = np.nan_to_num(ranked)
        last = np.maximum(known.sum(dim=1).numpy().astype(np.int64) - 1, 0)[:, None]
        out = np.empty((len(past), horizon, len(LEVELS)))
        made: dict[bytes, Array] = {}
        for step, weights in enumerate(self._weights(panel, past.shape[1], horizon)):
            key = weights.tobytes()
            if key not in made:
                made[key] = _weighted(filled, torch.as_tensor(weights)[ranks] * known, last)
            out[:, step] = made[key]
        return tidy(out)

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> Array:
        """Sample futures of shape (count, series, horizon)."""
        levels = sample_levels(self._dependence, panel.tenants, horizon, count, seed)
        return value_at(self.quantiles(panel, horizon), levels)

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
        return np.asarray(weights, dtype=np.float32)


def _weighted(ranked: Array, mass: torch.Tensor, last: NDArray[np.int64]) -> Array:
    """Weighted quantiles (series, levels) of ranked values; each value sits in the middle of its own share."""
    total = torch.cumsum(mass, dim=1)
    middle = (total - mass / 2) / total[:, -1:].clamp(min=1e-30)
    levels = torch.tensor(LEVELS, dtype=torch.float32).expand(len(ranked), -1).contiguous()
    above = torch.searchsorted(middle, levels)
    upper = np.minimum(above.numpy(), last)
    lower = np.maximum(np.minimum(above.numpy() - 1, last), 0)
    shares = middle.numpy()
    low, high = np.take_along_axis(shares, lower, axis=1), np.take_along_axis(shares, upper, axis=1)
    gap = high - low
    part = np.where(gap > 0, (levels.numpy() - low) / np.where(gap > 0, gap, 1.0), 0.0)
    values = np.take_along_axis(ranked, lower, axis=1), np.take_along_axis(ranked, upper, axis=1)
    return np.asarray(values[0] + np.clip(part, 0.0, 1.0) * (values[1] - values[0]), dtype=np.float64)
