"""AutoETS by statsforecast, as a challenger: exponential smoothing chosen series by series (Hyndman et al., 2002).

Registered where statsforecast is installed (`pip install metercast-platform[challengers]`). It has no weights: every
forecast chooses and fits anew, which takes seconds for each hundred series.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS, Forecast, State
from models.dependence import Dependence, estimate, scores, total_quantiles
from models.panel import Panel
from models.paths import sample_paths
from models.quantiles import tidy

Array = NDArray[np.float64]

IS_INSTALLED = find_spec("statsforecast") is not None
ORIGINS = 2
_INTERVALS = (80, 60, 40, 20)
"""Central intervals in percent, widest first; their ends and the mean are `models.contracts.LEVELS`."""


class AutoEts:
    """One exponential smoothing model a series; see the module's docstring."""

    name: ClassVar[str] = "auto-ets"

    def __init__(self) -> None:
        self._dependence = Dependence()

    def fit(self, panel: Panel, horizon: int) -> Self:
        """Estimate the dependence of errors at the last origins; returns itself."""
        reach = max(1, min(horizon, panel.windows // (ORIGINS + 2)))
        cuts = [panel.windows - back * reach for back in range(ORIGINS, 0, -1)]
        found = [
            scores(panel.values[:, cut : cut + reach], self.quantiles(panel.until(cut), reach))
            for cut in cuts
            if cut >= 2
        ]
        if found:
            self._dependence = estimate(np.stack(found), panel.tenants)
        return self

    def forecast(self, panel: Panel, horizon: int) -> Forecast:
        """Quantiles of the next windows and of their sum."""
        steps = self.quantiles(panel, horizon)
        return Forecast(LEVELS, steps, total_quantiles(steps, self._dependence))

    def quantiles(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the next windows alone: (series, horizon, levels)."""
        return tidy(np.stack([_one(values, panel.season, horizon) for values in panel.values]))

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> Array:
        """Sample futures of shape (count, series, horizon)."""
        return sample_paths(self.quantiles(panel, horizon), self._dependence, panel.tenants, count, seed)

    def state(self) -> State:
        """The dependence."""
        return State({"dependence": asdict(self._dependence)}, {})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The model that `state` described."""
        model = cls()
        model._dependence = Dependence(**state.document["dependence"])
        return model


def _one(values: Array, season: int, horizon: int) -> Array:
    """Quantiles (horizon, levels) of one series; one that stands still goes on standing still."""
    filled = _filled(values)
    if len(filled) < 4 or np.ptp(filled) == 0:
        return np.full((horizon, len(LEVELS)), filled[-1] if len(filled) else 0.0)
    from statsforecast.models import AutoETS

    scale = float(np.abs(filled).mean()) or 1.0
    length = season if len(filled) >= 3 * season else 1
    try:
        found = AutoETS(season_length=length).forecast(y=filled / scale, h=horizon, level=list(_INTERVALS))
    except Exception:  # whatever the optimiser cannot fit is forecast by the spread that the series has had
        return np.tile(np.quantile(filled, LEVELS), (horizon, 1))
    return _levels(found) * scale


def _levels(found: dict[str, Any]) -> Array:
    lower = [found[f"lo-{width}"] for width in _INTERVALS]
    upper = [found[f"hi-{width}"] for width in reversed(_INTERVALS)]
    return np.stack([*lower, found["mean"], *upper], axis=1).astype(np.float64)


def _filled(values: Array) -> Array:
    """From the first known value on, gaps bridged by a line."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.empty(0)
    places = np.arange(known[0], len(values))
    return np.asarray(np.interp(places, known, values[known]), dtype=np.float64)
