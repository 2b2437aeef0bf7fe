"""Ensemble: members weighted series by series by how they did lately, with the regimes of standing still over all.

The weights are those of "Hedge" (`models.mixing`) by the losses of forecasts made from each of the last seasons, learnt
window by window (`models.online_weights`). The forecast is the mixture of the members' distributions, as wide as it had
to be lately to cover what it promises. Totals are agreed on between the mixture, the LSTM's own head and the levels of
several stretches of the past (`models.totals`), and are as wide as such levels were off before (`models.past_sums`).
What is still amiss in widths, and the dependence of errors, is measured in `fit` over whole horizons. All of it lies
before the origin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.calibration import online_factor, stretched, width_factor
from models.contracts import LEVELS, Forecast, Forecaster, State
from models.dependence import Dependence, estimate, scores, total_quantiles
from models.forecasters.gaussian_process import GaussianProcess
from models.forecasters.lstm import Lstm, LstmConfig, Trainer
from models.forecasters.markov import Markov
from models.forecasters.npts import Npts, NptsConfig
from models.forecasters.seasonal_naive import SeasonalNaive
from models.mixing import heaviest, mixture, weights_by_kind
from models.online_weights import OnlineWeights
from models.panel import Panel
from models.past_sums import PastSums, past_sums
from models.paths import sample_paths
from models.quantiles import tidy
from models.switching import switching
from models.totals import agreed, level_opinions, opinion_weights, stretches, with_totals
from models.weighted import Binned

Array = NDArray[np.float64]
Index = NDArray[np.int64]
WHOLE = 5
"""Widths and dependence are measured over so many whole horizons."""

MEASURED = 600
"""They are measured on so many series at most, drawn at random."""


@dataclass(frozen=True, slots=True)
class Widths:
    """A factor on distances of steps from their median, and how far off past sums usually lay (`PastSums.usual`)."""

    steps: float = 1.0
    sums: float = 1.0


class Ensemble:
    """Seasonal naive, Markov, NPTS, Gaussian process and LSTM together; see the module's docstring."""

    name: ClassVar[str] = "ensemble"

    def __init__(self, config: LstmConfig | None = None, trainer: Trainer | None = None) -> None:
        self._members: dict[str, Forecaster] = {
            "seasonal-naive": SeasonalNaive(),
            "markov": Markov(),
            "npts-narrow": Npts(NptsConfig(width=0.5 / 24)),
            "npts-week": Npts(NptsConfig(power=1.0, same_weekday=10.0)),
            "npts-wide": Npts(NptsConfig(width=4 / 24)),
            "npts-recent": Npts(NptsConfig(power=2.5, width=1.0)),
            "gaussian-process": GaussianProcess(),
            "lstm": Lstm(config, trainer),
        }
        self._online = OnlineWeights(tuple(self._members))
        self._dependence = Dependence()
        self._widths = Widths()

    def fit(self, panel: Panel, horizon: int) -> Self:
        """Fit every member, then measure widths and dependence over whole horizons; returns itself.

        They are measured without the LSTM: it has been trained on those windows, so its errors there are too small.
        """
        for member in self._members.values():
            member.fit(panel, horizon)
        self._online = OnlineWeights(tuple(self._members))
        self._widths, self._dependence = Widths(), Dependence()
        cuts = _whole_horizons(panel, horizon)
        if cuts:
            self._measure(_drawn(panel), cuts, horizon)
        return self

    def forecast(self, panel: Panel, horizon: int) -> Forecast:
        """Quantiles of the next windows and of their sum."""
        steps, summed, direct = self._sums(panel, horizon)
        return Forecast(LEVELS, steps, self._agreed(panel, horizon, summed, direct))

    def quantiles(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the next windows alone."""
        return self._steps(panel, horizon)[0]

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> Array:
        """Sample futures of shape (count, series, horizon), whose sums are distributed as the totals are."""
        forecast = self.forecast(panel, horizon)
        paths = sample_paths(forecast.steps, self._dependence, panel.tenants, count, seed)
        return with_totals(paths, forecast.totals)

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

    def _steps(self, panel: Panel, horizon: int) -> tuple[Array, Array | None]:
        """Quantiles of the steps, and of their sum by the LSTM's own head where it was trained for the horizon."""
        # Of all series, as totals rest on the LSTM's for all of them.
        steps, direct = self._lstm.steps_and_totals(panel, horizon)
        mixed = self._mixed(panel, horizon, self._online, steps)
        return self._markov.with_regimes(panel, tidy(stretched(mixed, self._widths.steps), own=True)), direct

    def _mixed(self, panel: Panel, horizon: int, online: OnlineWeights, lstm: Array | None = None) -> Array:
        """The mixture of members by their weights (series, horizon, levels); ``lstm`` is what that one says.

        A member is asked only for the series in which it has a say. The mixture is as wide as it had to be lately.
        """
        learnt = online.learn_many(panel, horizon, self._asking)
        switches = switching(panel.values, panel.season)
        order, weights = heaviest(weights_by_kind(learnt.losses, online.names, switches))
        parts: list[Array] = []
        places = np.zeros((*order.shape, 2), dtype=np.int64)
        ask = self._asking(panel, horizon)
        for place, name in enumerate(online.names):
            rows, slots = np.nonzero((order == place) & (weights > 0))
            if not len(rows):
                continue
            ready = lstm if name == "lstm" else None
            places[rows, slots, 0] = len(parts)
            places[rows, slots, 1] = np.arange(len(rows)) if ready is None else rows
            parts.append(ask(name, rows) if ready is None else ready)
        mixed = mixture(parts, places, weights, horizon)
        # What is either idle or busy is missed by a wrong chance of either, not by a wrong width.
        factor = np.where(switches, 1.0, online_factor(learnt.inside, learnt.losses[:, -1]))
        return stretched(mixed, factor[:, None, None])

    def _asking(self, panel: Panel, horizon: int) -> Callable[[str, Index], Array]:
        """What asks a member for some series (rows, horizon, levels); the past is put into bins once for all NPTS."""
        past: list[Binned] = []

        def ask(name: str, rows: Index) -> Array:
            member = self._members[name]
            if not isinstance(member, Npts):
                return member.quantiles(panel.select(rows), horizon)
            if not past:
                past.append(member.past(panel))
            return member.read(past[0].of(rows), panel, horizon)

        return ask

    def _measure(self, panel: Panel, cuts: list[int], horizon: int) -> None:
        """Widths of steps and the dependence of errors at past origins, and how far off sums usually lie."""
        names = tuple(name for name in self._members if name != "lstm")
        reach = min(horizon, panel.windows - cuts[-1])
        seen = [panel.until(cut) for cut in cuts]
        mixed = [self._markov.with_regimes(part, tidy(self._mixed(part, reach, OnlineWeights(names)))) for part in seen]
        steps = np.stack(mixed)
        actual = np.stack([panel.values[:, cut : cut + reach] for cut in cuts])
        factor = width_factor(steps, actual)
        steps = np.stack([tidy(stretched(part, factor)) for part in steps])
        self._dependence = estimate(scores(actual, steps), panel.tenants)
        self._widths = Widths(factor)
        self._widths = Widths(factor, _past(panel, horizon).usual(_spread(*self._sums(panel, horizon)[1:])))

    def _sums(self, panel: Panel, horizon: int) -> tuple[Array, Array, Array]:
        """Quantiles of the steps, of their sum under the dependence, and of the sum by the LSTM's own head."""
        steps, direct = self._steps(panel, horizon)
        summed = total_quantiles(steps, self._dependence)
        return steps, summed, summed if direct is None else direct

    def _agreed(self, panel: Panel, horizon: int, summed: Array, direct: Array) -> Array:
        """Quantiles of the sum over the horizon (series, levels)."""
        levels = level_opinions(panel.values, panel.season, horizon)
        still, value = self._markov.standing_still(panel, horizon)
        chance = still.mean(axis=1)
        levels = (1 - chance) * levels + chance * value * horizon
        past = _past(panel, horizon)
        opinions = np.concatenate([levels, np.stack([part[:, LEVELS.index(0.5)] for part in (summed, direct)])])
        weights = opinion_weights(past.trust, panel.season, horizon)
        return agreed(opinions, weights, past.grown(_spread(summed, direct), self._widths.sums))


def _past(panel: Panel, horizon: int) -> PastSums:
    return past_sums(panel.values, panel.season, horizon, stretches(panel.season, horizon))


def _spread(summed: Array, direct: Array) -> Array:
    """How far quantiles of the sum (series, levels) lie from their median, of two forecasts on average."""
    both, middle = 0.5 * (summed + direct), LEVELS.index(0.5)
    return both - both[:, middle : middle + 1]


def _whole_horizons(panel: Panel, horizon: int) -> list[int]:
    """Origins before the end that leave a whole horizon, or a quarter of the panel, after them."""
    reach = max(1, min(horizon, panel.windows // 4))
    stride = max(1, min(horizon, panel.season))
    cuts = [panel.windows - reach - stride * back for back in range(WHOLE - 1, -1, -1)]
    return [cut for cut in cuts if cut >= max(2, panel.season // 2)]


def _drawn(panel: Panel) -> Panel:
    """At most `MEASURED` series of a panel, always the same."""
    count = len(panel.series)
    if count <= MEASURED:
        return panel
    return panel.select(np.sort(np.random.default_rng(0).choice(count, MEASURED, replace=False)))
