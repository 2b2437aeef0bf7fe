"""Seasonal naive: the last season again, with the spread that past seasons had; the yardstick of all others."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS, Forecast, State
from models.dependence import Dependence, total_quantiles
from models.panel import Panel
from models.paths import sample_paths
from models.quantiles import tidy


class SeasonalNaive:
    """Repeats the last season; quantiles add those of past errors y[t] - y[t - season], seen over all series."""

    name: ClassVar[str] = "seasonal-naive"

    def fit(self, panel: Panel, horizon: int) -> Self:  # noqa: ARG002 -- nothing is learnt ahead of the panel
        """Nothing to learn; returns itself."""
        return self

    def forecast(self, panel: Panel, horizon: int) -> Forecast:
        """Quantiles of the next windows and of their sum."""
        steps = self._steps(panel, horizon)
        return Forecast(LEVELS, steps, tidy(total_quantiles(steps, Dependence())))

    def quantiles(self, panel: Panel, horizon: int) -> NDArray[np.float64]:
        """Quantiles of the next windows alone."""
        return self._steps(panel, horizon)

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> NDArray[np.float64]:
        """Sample futures of shape (count, series, horizon)."""
        return sample_paths(self._steps(panel, horizon), Dependence(), panel.tenants, count, seed)

    def state(self) -> State:
        """Empty: there is nothing to keep."""
        return State({}, {})

    @classmethod
    def restore(cls, state: State) -> Self:  # noqa: ARG003 -- there is nothing to restore
        """A new one."""
        return cls()

    @staticmethod
    def _steps(panel: Panel, horizon: int) -> NDArray[np.float64]:
        values = _filled(panel.values)
        season = min(panel.season, values.shape[1])
        middle = values[:, values.shape[1] - season + np.arange(horizon) % season]
        spread = np.zeros((values.shape[0], len(LEVELS)))
        if values.shape[1] > season:
            spread = np.quantile(values[:, season:] - values[:, :-season], LEVELS, axis=1).T
        growth = np.sqrt(1 + np.arange(horizon) // season)
        return tidy(middle[:, :, None] + spread[:, None, :] * growth[None, :, None], own=True)


def _filled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Missing windows carried on from the last known one; zero before the first."""
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(values.shape[1]), -1), axis=1)
    carried = np.take_along_axis(values, np.maximum(last, 0), axis=1)
    return np.where(last >= 0, carried, 0.0)
