"""NPTS: past values of the same time of day and of lately, weighted, are the distribution of what comes.

The non-parametric time series forecaster (Gasthaus, 2016; "NPTS" in GluonTS): the quantiles of a window to come are
the weighted quantiles of the series' own past. The weight of a past window falls with its age as a power, more
slowly the further ahead the forecast reaches, falls exponentially with its distance in phase within the season, and
is larger on the same day of the week. It needs no training, never leaves what was seen, and keeps zeros as zeros.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.contracts import State
from models.dependence import Dependence
from models.forecasters.quantile_model import QuantileModel
from models.panel import Panel
from models.quantiles import tidy
from models.weighted import EXACT, Binned, binned, weighted_quantiles

Array = NDArray[np.float64]
DAY_NS = 86_400 * 1_000_000_000


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
        return self.read(self.past(panel), panel, horizon)

    def past(self, panel: Panel) -> Binned:
        """What is looked at; the same for all settings that look as many seasons back."""
        return binned(panel.values[:, -self._config.seasons * panel.season :])

    def read(self, past: Binned, panel: Panel, horizon: int) -> Array:
        """Quantiles (series, horizon, levels) for the series of a past; of the panel only its windows count."""
        weights = _weights(self._config, past.bins.shape[1], horizon, panel.season, panel.window_ns)
        return tidy(weighted_quantiles(past, weights), own=True)

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


@lru_cache(maxsize=64)
def _weights(config: NptsConfig, width: int, horizon: int, season: int, window_ns: int) -> NDArray[np.float32]:
    """Weight of every past window for every step: (horizon, width)."""
    back = width - np.arange(width)
    ahead = np.arange(horizon)[:, None]
    age = back + (config.offset + config.reach * (ahead // season)) * season
    apart = (back + ahead) % season
    apart = np.minimum(apart, season - apart)
    # Ages relative to the youngest, or a steep power would underflow for long seasons.
    weights = (age / age.min(axis=1, keepdims=True)) ** -config.power
    weights = weights * np.exp(-apart / (config.width * season))
    if season * window_ns == DAY_NS:
        days = (back + ahead + season // 2) // season
        weights = weights * np.where(days % 7 == 0, config.same_weekday, 1.0)
    # Whole numbers whose sums a float holds exactly: the answer is the same in whatever order they are added up.
    return np.asarray(np.rint(weights / weights.sum(axis=1, keepdims=True) * EXACT), dtype=np.float32)
