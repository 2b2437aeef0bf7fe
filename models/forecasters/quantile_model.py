"""What forecasters that give quantiles of steps have in common: totals and paths by the measured dependence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS, Forecast
from models.dependence import Dependence, estimate, scores, total_quantiles
from models.panel import Panel
from models.paths import sample_paths

Array = NDArray[np.float64]
ORIGINS = 4
"""Past origins at which the dependence of errors is measured."""


class QuantileModel(ABC):
    """A forecaster that needs no training: `quantiles` is all that a kind of it has to give."""

    def __init__(self) -> None:
        self._dependence = Dependence()

    @abstractmethod
    def quantiles(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the next windows: (series, horizon, levels)."""

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

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> Array:
        """Sample futures of shape (count, series, horizon)."""
        return sample_paths(self.quantiles(panel, horizon), self._dependence, panel.tenants, count, seed)
