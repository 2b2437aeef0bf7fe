"""Ensemble: members weighted series by series by how they did lately, widths calibrated, totals from two sources.

Weights follow the exponentially weighted average forecaster ("Hedge", Freund & Schapire, 1997): each member's prior
times exp(-rate x loss), where the loss is the scaled pinball loss at the last origins before the forecast, of the
series itself shrunk to that of all. Quantiles are averaged level by level (Vincent). All of it lies before the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.calibration import stretched, width_factor
from models.contracts import LEVELS, Forecast, Forecaster, State
from models.dependence import Dependence, estimate, sample_levels, scores
from models.forecasters.lstm import Lstm, LstmConfig, Trainer
from models.forecasters.markov import Markov
from models.forecasters.seasonal_naive import SeasonalNaive
from models.panel import Panel
from models.quantiles import empirical, tidy, value_at

Array = NDArray[np.float64]
PATHS = 400
RATE = 4.0
OWN_SHARE = 0.6
"""How much of the loss that decides a weight is the series' own; the rest is that of all series."""

LEAST = 0.03
"""A smaller weight counts as none."""

LOOKBACKS = 3
PRIORS = {"seasonal-naive": 0.2, "markov": 0.3, "lstm": 0.5}


@dataclass(frozen=True, slots=True)
class Recent:
    """What the last origins before a forecast say: weights (series, members), width factor, dependence of errors."""

    weights: Array
    factor: float
    dependence: Dependence


class Ensemble:
    """Seasonal naive, Markov and LSTM together; see the module's docstring."""

    name: ClassVar[str] = "ensemble"

    def __init__(self, config: LstmConfig | None = None, trainer: Trainer | None = None) -> None:
        self._members: dict[str, Forecaster] = {
            "seasonal-naive": SeasonalNaive(),
            "markov": Markov(),
            "lstm": Lstm(config, trainer),
        }

    def fit(self, panel: Panel, horizon: int) -> Self:
        """Fit every member; weights are measured when a forecast is made. Returns itself."""
        for member in self._members.values():
            member.fit(panel, horizon)
        return self

    def forecast(self, panel: Panel, horizon: int) -> Forecast:
        """Quantiles of the next windows and of their sum."""
        recent = self._recent(panel, horizon)
        steps = self._steps(panel, horizon, recent)
        totals = empirical(self._sample(steps, panel, recent, PATHS, seed=0).sum(axis=2))
        direct = self._lstm.direct_totals(panel, horizon)
        if direct is not None:
            totals = 0.5 * totals + 0.5 * direct
        return Forecast(LEVELS, steps, tidy(totals))

    def quantiles(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the next windows alone."""
        return self._steps(panel, horizon, self._recent(panel, horizon))

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> Array:
        """Sample futures of shape (count, series, horizon)."""
        recent = self._recent(panel, horizon)
        return self._sample(self._steps(panel, horizon, recent), panel, recent, count, seed)

    def state(self) -> State:
        """The members' states under their names."""
        document: dict[str, Any] = {}
        arrays: dict[str, Any] = {}
        for name, member in self._members.items():
            part = member.state()
            document[name] = dict(part.document)
            arrays |= {f"{name}/{key}": value for key, value in part.arrays.items()}
        return State(document, arrays)

    @classmethod
    def restore(cls, state: State) -> Self:
        """The model that `state` described."""
        model = cls()
        for name, member in model._members.items():
            arrays = {
                key.removeprefix(f"{name}/"): value for key, value in state.arrays.items() if key.startswith(f"{name}/")
            }
            model._members[name] = type(member).restore(State(state.document[name], arrays))
        return model

    @property
    def _lstm(self) -> Lstm:
        lstm = self._members["lstm"]
        assert isinstance(lstm, Lstm)
        return lstm

    def _recent(self, panel: Panel, horizon: int) -> Recent:
        """Weights, width and dependence from forecasts made at the last origins."""
        cuts = _lookbacks(panel, horizon)
        priors = np.array([PRIORS[name] for name in self._members])
        if not cuts:
            return Recent(np.tile(priors, (len(panel.series), 1)), 1.0, Dependence())
        reach = min(horizon, panel.windows - cuts[-1])
        past = np.stack([self._all(panel.until(cut), reach) for cut in cuts])
        actual = np.stack([panel.values[:, cut : cut + reach] for cut in cuts])
        weights = _hedge(past, actual, priors)
        mixed = np.einsum("omshl,sm->oshl", past, weights)
        return Recent(weights, width_factor(mixed, actual), estimate(scores(actual, mixed), panel.tenants))

    def _all(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of every member: (members, series, horizon, levels)."""
        return np.stack([member.quantiles(panel, horizon) for member in self._members.values()])

    def _steps(self, panel: Panel, horizon: int, recent: Recent) -> Array:
        mixed = np.einsum("mshl,sm->shl", self._all(panel, horizon), recent.weights)
        return tidy(stretched(mixed, recent.factor))

    @staticmethod
    def _sample(steps: Array, panel: Panel, recent: Recent, count: int, seed: int) -> Array:
        return value_at(steps, sample_levels(recent.dependence, panel.tenants, steps.shape[1], count, seed))


def _lookbacks(panel: Panel, horizon: int) -> list[int]:
    """Origins before the end, at least a day's season apart, that leave some history before them."""
    stride = max(1, min(horizon, panel.season))
    reach = max(1, min(horizon, panel.windows // 4))
    cuts = [panel.windows - reach - stride * back for back in range(LOOKBACKS - 1, -1, -1)]
    return [cut for cut in cuts if cut >= max(2, panel.season // 2)]


def _hedge(past: Array, actual: Array, priors: Array) -> Array:
    """Weights (series, members) from quantiles (origins, members, series, horizon, levels) and what came after."""
    levels = np.asarray(LEVELS)
    error = actual[:, None, :, :, None] - past
    loss = np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
    with np.errstate(all="ignore"):
        own = np.nanmean(loss, axis=(0, 3)).T
        scale = np.nanmean(own, axis=1, keepdims=True)
        relative = np.where(scale > 0, own / scale, 1.0)
    relative = np.where(np.isfinite(relative), relative, 1.0)
    shrunk = OWN_SHARE * relative + (1 - OWN_SHARE) * relative.mean(axis=0, keepdims=True)
    weights = priors * np.exp(-RATE * (shrunk - shrunk.min(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    weights[weights < LEAST] = 0.0  # an idle series must not be billed for one member's doubts
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)
