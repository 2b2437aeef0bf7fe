"""Ensemble: members weighted series by series by how they did lately, with the regime of standing still over all.

Weights follow the exponentially weighted average forecaster ("Hedge", Freund & Schapire, 1997): each member's prior
times exp(-rate x loss), where the loss is the pinball loss of forecasts from each of the last seasons, relative to
that of all members, of the series itself shrunk to that of all. Quantiles are averaged level by level (Vincent).
Widths and the dependence of errors are measured in `fit` over whole horizons. All of it lies before the origin.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.calibration import stretched, width_factor
from models.contracts import LEVELS, Forecast, Forecaster, State
from models.dependence import Dependence, estimate, sample_levels, scores, total_quantiles
from models.forecasters.lstm import Lstm, LstmConfig, Trainer
from models.forecasters.markov import Markov
from models.forecasters.npts import Npts, NptsConfig
from models.forecasters.seasonal_naive import SeasonalNaive
from models.panel import Panel
from models.quantiles import tidy, value_at
from models.regimes import with_regime

Array = NDArray[np.float64]
RATE = 12.0
OWN_SHARE = 0.6
"""How much of the loss that decides a weight is the series' own; the rest is that of all series."""

WORST = 5.0
"""A member's relative loss counts no higher, or one wild series would decide for all."""

LEAST = 0.03
"""A smaller weight counts as none."""

LOOKBACKS = 3
"""Forecasts from so many of the last seasons are compared with what came."""

DIRECT_SHARE = 0.3
"""How much of a total the LSTM's own head says."""

PAST_SHARE = 0.4
"""How far a total is moved towards the sum of as many windows before: a naive forecast of the total."""

WHOLE = 5
"""Widths and dependence are measured over so many whole horizons."""

PRIORS = {"seasonal-naive": 0.05, "markov": 0.15, "npts-narrow": 0.2, "npts-wide": 0.2, "lstm": 0.4}


@dataclass(frozen=True, slots=True)
class Widths:
    """Factors on distances from the median, of the steps and of their sum."""

    steps: float = 1.0
    totals: float = 1.0


class Ensemble:
    """Seasonal naive, Markov, NPTS and LSTM together; see the module's docstring."""

    name: ClassVar[str] = "ensemble"

    def __init__(self, config: LstmConfig | None = None, trainer: Trainer | None = None) -> None:
        self._members: dict[str, Forecaster] = {
            "seasonal-naive": SeasonalNaive(),
            "markov": Markov(),
            "npts-narrow": Npts(NptsConfig(width=0.5 / 24)),
            "npts-wide": Npts(NptsConfig(width=4 / 24)),
            "lstm": Lstm(config, trainer),
        }

        self._dependence = Dependence()
        self._widths = Widths()

    def fit(self, panel: Panel, horizon: int) -> Self:
        """Fit every member, then measure widths and dependence over whole horizons; returns itself.

        They are measured without the LSTM: it has been trained on those windows, so its errors there are too small.
        """
        for member in self._members.values():
            member.fit(panel, horizon)
        self._widths, self._dependence = Widths(), Dependence()
        cuts = _whole_horizons(panel, horizon)
        if not cuts:
            return self
        reach = min(horizon, panel.windows - cuts[-1])
        steps = np.stack([self._untrained(panel.until(cut), reach) for cut in cuts])
        actual = np.stack([panel.values[:, cut : cut + reach] for cut in cuts])
        factor = width_factor(steps, actual)
        self._dependence = estimate(scores(actual, stretched(steps, factor)), panel.tenants)
        mixed = zip(cuts, stretched(steps, factor), strict=True)
        totals = np.stack([self._summed(panel.until(cut), tidy(part)) for cut, part in mixed])
        # Half of the correction, as factors go: chosen on one data set, where all of it covered better, scored worse.
        whole = width_factor(totals[:, :, None], actual.sum(axis=2)[:, :, None]) ** 0.5
        self._widths = Widths(factor, whole)
        return self

    def forecast(self, panel: Panel, horizon: int) -> Forecast:
        """Quantiles of the next windows and of their sum."""
        steps = self.quantiles(panel, horizon)
        return Forecast(LEVELS, steps, tidy(self._totals(panel, steps)))

    def quantiles(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the next windows alone."""
        mixed = np.einsum("mshl,sm->shl", self._all(panel, horizon), self._weights(panel, horizon))
        return with_regime(tidy(stretched(mixed, self._widths.steps)), *self._markov.standing_still(panel, horizon))

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> Array:
        """Sample futures of shape (count, series, horizon)."""
        levels = sample_levels(self._dependence, panel.tenants, horizon, count, seed)
        return value_at(self.quantiles(panel, horizon), levels)

    def state(self) -> State:
        """The members' states under their names."""
        document: dict[str, Any] = {"dependence": asdict(self._dependence), "widths": asdict(self._widths)}
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
        model._dependence = Dependence(**state.document["dependence"])
        model._widths = Widths(**state.document["widths"])
        return model

    @property
    def _lstm(self) -> Lstm:
        lstm = self._members["lstm"]
        assert isinstance(lstm, Lstm)
        return lstm

    @property
    def _markov(self) -> Markov:
        markov = self._members["markov"]
        assert isinstance(markov, Markov)
        return markov

    def _all(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of every member: (members, series, horizon, levels)."""
        return np.stack([member.quantiles(panel, horizon) for member in self._members.values()])

    def _untrained(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the members that need no training, mixed by their priors."""
        names = [name for name in self._members if name != "lstm"]
        priors = np.array([PRIORS[name] for name in names])
        each = np.stack([self._members[name].quantiles(panel, horizon) for name in names])
        mixed = np.einsum("mshl,m->shl", each, priors / priors.sum())
        return with_regime(tidy(mixed), *self._markov.standing_still(panel, horizon))

    def _totals(self, panel: Panel, steps: Array) -> Array:
        """Quantiles of the sum over the horizon (series, levels): from the steps, and by the LSTM's own head."""
        totals = tidy(stretched(self._summed(panel, steps), self._widths.totals))
        direct = self._lstm.direct_totals(panel, steps.shape[1])
        return totals if direct is None else (1 - DIRECT_SHARE) * totals + DIRECT_SHARE * direct

    def _summed(self, panel: Panel, steps: Array) -> Array:
        """Quantiles of the sum of the steps, moved towards the sum of the last windows where the series still moves."""
        horizon = steps.shape[1]
        totals = total_quantiles(steps, self._dependence)
        if panel.windows < 2 * horizon:
            return totals
        last = panel.values[:, -horizon:]
        known = np.isfinite(last)
        count = known.sum(axis=1)
        past = np.where(known, last, 0.0).sum(axis=1) * horizon / np.maximum(count, 1)
        still = self._markov.standing_still(panel, horizon)[0].mean(axis=1)
        share = np.where(2 * count >= horizon, PAST_SHARE * (1 - still), 0.0)
        return np.asarray(totals + (share * (past - totals[:, len(LEVELS) // 2]))[:, None], dtype=np.float64)

    def _weights(self, panel: Panel, horizon: int) -> Array:
        """Weights (series, members) by the losses of forecasts made from each of the last seasons."""
        priors = np.array([PRIORS[name] for name in self._members])
        losses = []
        for back in range(1, LOOKBACKS + 1):
            cut = panel.windows - back * panel.season
            reach = min(horizon, 2 * panel.season, panel.windows - cut)
            if cut >= max(2, panel.season // 2):
                actual = panel.values[:, cut : cut + reach]
                losses.append(_losses(self._all(panel.until(cut), reach), actual))
        if not losses:
            return np.tile(priors, (len(panel.series), 1))
        return _hedge(np.stack(losses), priors)


def _whole_horizons(panel: Panel, horizon: int) -> list[int]:
    """Origins before the end that leave a whole horizon, or a quarter of the panel, after them."""
    reach = max(1, min(horizon, panel.windows // 4))
    stride = max(1, min(horizon, panel.season))
    cuts = [panel.windows - reach - stride * back for back in range(WHOLE - 1, -1, -1)]
    return [cut for cut in cuts if cut >= max(2, panel.season // 2)]


def _losses(past: Array, actual: Array) -> Array:
    """Mean pinball loss (series, members) of quantiles (members, series, horizon, levels); NaN where nothing came."""
    levels = np.asarray(LEVELS)
    error = actual[None, :, :, None] - past
    loss = np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
    known = np.isfinite(loss)
    count = known.sum(axis=2)
    total = np.where(known, loss, 0.0).sum(axis=2)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).T


def _hedge(losses: Array, priors: Array) -> Array:
    """Weights (series, members) from losses (origins, series, members)."""
    known = np.isfinite(losses)
    own = np.where(known, losses, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    scale = (own * priors).sum(axis=1, keepdims=True)
    relative = np.divide(own, scale, out=np.ones_like(own), where=scale > 0)
    relative = np.minimum(relative, WORST)
    shrunk = OWN_SHARE * relative + (1 - OWN_SHARE) * relative.mean(axis=0, keepdims=True)
    weights = priors * np.exp(-RATE * (shrunk - shrunk.min(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    weights[weights < LEAST] = 0.0  # an idle series must not be billed for one member's doubts
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)
