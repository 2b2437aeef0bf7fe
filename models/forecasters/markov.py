"""Markov: chains over quantile bins (last window, same window last season, phase), and regimes of standing still.

A series that stands exactly still, as one that is switched off does, goes on standing still with a probability learnt
from how long it has stood so, and one that has just woken up stays awake with a probability learnt from both spells:
semi-Markov regimes beside the chains. Counts of one series are shrunk to those of all, so a new series starts from
what the others do, and nothing needs training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS, Forecast, State
from models.dependence import Dependence, estimate, scores
from models.forecasters.markov_chances import SHRINKAGE, carried, chances, normal
from models.forecasters.markov_states import (
    BINS,
    POINTS,
    SPANS,
    Binned,
    States,
    binned,
    pair_counts,
    phase_counts,
    span_of,
    standing,
    unusual,
)
from models.onset import Wakings, count_wakings, with_onset
from models.panel import Panel
from models.paths import sample_paths
from models.quantiles import empirical, point_quantiles, tidy
from models.regimes import with_regime

Array = NDArray[np.float64]
PATHS = 200
_COUNTS = ("last", "seasonal", "weights", "staying")
ORIGINS = 4
"""Past origins at which the dependence of errors is measured."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """What all series say: transitions, weights of the three experts, the chance to go on standing still, wakings."""

    last: Array
    seasonal: Array
    weights: Array
    staying: Array
    wakings: Wakings


class Markov:
    """A mixture of Markov chains with a regime of standing still; see the module's docstring."""

    name: ClassVar[str] = "markov"

    def __init__(self) -> None:
        self._pooled: Pooled | None = None
        self._dependence = Dependence()

    def fit(self, panel: Panel, horizon: int) -> Self:
        """Learn the pooled counts and the dependence of errors; returns itself."""
        self._pooled = _pool(panel)
        reach = max(1, min(horizon, panel.windows // (ORIGINS + 2)))
        found = []
        for back in range(ORIGINS, 0, -1):
            cut = panel.windows - back * reach
            if cut >= 2:
                found.append(scores(panel.values[:, cut : cut + reach], self._steps(panel.until(cut), reach)))
        if found:
            self._dependence = estimate(np.stack(found), panel.tenants)
        return self

    def forecast(self, panel: Panel, horizon: int) -> Forecast:
        """Quantiles of the next windows; totals from sample paths."""
        totals = self.paths(panel, horizon, PATHS, seed=0).sum(axis=2)
        return Forecast(LEVELS, self._steps(panel, horizon), tidy(empirical(totals)))

    def quantiles(self, panel: Panel, horizon: int) -> NDArray[np.float64]:
        """Quantiles of the next windows alone."""
        return self._steps(panel, horizon)

    def standing_still(self, panel: Panel, horizon: int) -> tuple[Array, Array]:
        """Chance that each series still stands at every step (series, horizon), and the value it stands at (series)."""
        return _still(panel.values, panel.season, self._pooled if self._pooled is not None else _pool(panel), horizon)

    def with_regimes(self, panel: Panel, steps: Array) -> Array:
        """Any model's quantiles (series, horizon, levels) with standing still and waking up laid over them."""
        pooled = self._pooled if self._pooled is not None else _pool(panel)
        held = with_regime(steps, *_still(panel.values, panel.season, pooled, steps.shape[1]))
        return with_onset(held, panel.values, panel.season, pooled.wakings)

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> Array:
        """Sample futures of shape (count, series, horizon): a series stands still until it moves again, if it does."""
        pooled = self._pooled if self._pooled is not None else _pool(panel)
        chance, value = _still(panel.values, panel.season, pooled, horizon)
        paths = sample_paths(_awake(panel, pooled, horizon), self._dependence, panel.tenants, count, seed)
        rows = np.nonzero(chance.max(axis=1, initial=0.0) > 0)[0]
        if len(rows):
            spells = standing(panel.values)[rows, -1]
            # What a tenant stopped at the same moment had one cause, so it moves again at the same moment.
            causes = [(panel.tenants[row], int(spell)) for row, spell in zip(rows, spells, strict=True)]
            place = {cause: index for index, cause in enumerate(dict.fromkeys(causes))}
            drawn = np.random.default_rng([seed, 1]).random((count, len(place)))[:, [place[cause] for cause in causes]]
            paths[:, rows] = np.where(drawn[:, :, None] < chance[rows], value[rows, None], paths[:, rows])
        return paths

    def state(self) -> State:
        """The pooled counts and the dependence."""
        dependence = self._dependence
        document = {"level": dependence.level, "memory": dependence.memory, "common": dependence.common}
        pooled = self._pooled
        if pooled is None:
            return State(document, {})
        arrays = {
            "last": pooled.last,
            "seasonal": pooled.seasonal,
            "weights": pooled.weights,
            "staying": pooled.staying,
        }
        return State(document, arrays | pooled.wakings.arrays())

    @classmethod
    def restore(cls, state: State) -> Self:
        """The model that `state` described."""
        model = cls()
        model._dependence = Dependence(**{key: float(state.document[key]) for key in ("level", "memory", "common")})
        if state.arrays:
            known = {key: np.asarray(state.arrays[key], dtype=np.float64) for key in _COUNTS}
            model._pooled = Pooled(**known, wakings=Wakings.of(state.arrays))
        return model

    def _steps(self, panel: Panel, horizon: int) -> Array:
        pooled = self._pooled if self._pooled is not None else _pool(panel)
        still, value = _still(panel.values, panel.season, pooled, horizon)
        return _quantiles(panel, pooled, still, value)


def _awake(panel: Panel, pooled: Pooled, horizon: int) -> Array:
    """Quantiles of what each series does where it does not stand still (series, horizon, levels)."""
    none = np.zeros((len(panel.series), horizon))
    return _quantiles(panel, pooled, none, np.zeros(len(panel.series)))


def _quantiles(panel: Panel, pooled: Pooled, still: Array, value: Array) -> Array:
    """Quantiles (series, horizon, levels) where each series stands at ``value`` with chance ``still``."""
    bins = binned(panel.values)
    steps = _mixed(bins.points, _moving(panel, bins, pooled, still.shape[1]), still, value)
    return with_onset(steps, panel.values, panel.season, pooled.wakings)


def _phases(panel: Panel, first: int, count: int) -> NDArray[np.int64]:
    """Phase within the season of windows counted from the epoch, so that it does not depend on where a panel starts."""
    start = panel.start_ns // panel.window_ns
    return np.asarray((start + first + np.arange(count)) % panel.season, dtype=np.int64)


def _pool(panel: Panel) -> Pooled:
    states = binned(panel.values).states
    season = min(panel.season, max(1, states.shape[1] - 1))
    last = normal(pair_counts(states[:, :-1], states[:, 1:], BINS).sum(axis=0) + 0.1 + np.eye(BINS))
    seasonal = normal(pair_counts(states[:, :-season], states[:, season:], BINS).sum(axis=0) + 0.1 + np.eye(BINS))
    weights = _weights(states, panel, last, seasonal, season)
    return Pooled(
        last, seasonal, weights, _staying(panel.values, panel.season), count_wakings(panel.values, panel.season)
    )


def _weights(states: States, panel: Panel, last: Array, seasonal: Array, season: int) -> Array:
    """Weights of the three experts by expectation-maximisation on one-step probabilities of all series."""
    if states.shape[1] <= season + 1:
        return np.array([0.7, 0.1, 0.2])
    now, before, earlier = states[:, season:], states[:, season - 1 : -1], states[:, :-season]
    phases = phase_counts(states, _phases(panel, 0, states.shape[1]), panel.season)
    base = normal(phases.sum(axis=1) + 1e-3)
    row = np.arange(len(states))[:, None]
    at = _phases(panel, season, now.shape[1])[None, :]
    # Without the window itself, or the phase would be praised for remembering what it is asked.
    others = phases[row, at, now] - 1 + SHRINKAGE / 2 * base[row, now]
    own = others / (phases.sum(axis=2)[row, at] - 1 + SHRINKAGE / 2)
    valid = (now >= 0) & (before >= 0) & (earlier >= 0)
    chance = np.stack([last[before, now], seasonal[earlier, now], own])[:, valid] + 1e-9
    weights = np.full(3, 1 / 3)
    for _ in range(30):
        share = weights[:, None] * chance
        weights = (share / share.sum(axis=0)).mean(axis=1) if share.size else weights
    return weights


def _staying(values: Array, season: int) -> Array:
    """Chance that an unusual spell of standing still goes on one more window, by its length, over all series."""
    span = span_of(unusual(values, season)[:, :-1])
    goes_on = values[:, 1:] == values[:, :-1]
    known = np.isfinite(values[:, 1:]) & np.isfinite(values[:, :-1])
    total = np.bincount(span[known], minlength=len(SPANS) + 1)
    ended = np.bincount(span[known & ~goes_on], minlength=len(SPANS) + 1)
    # Half an end in as many windows as a spell is long by then: where no end was seen, a spell is as likely at any age
    # to go on for its own length again (the rate's prior has no scale); where many series were seen, they decide alone.
    lengths = np.concatenate([[1], SPANS])
    return np.asarray(1 - (ended + 0.5) / (total + lengths), dtype=np.float64)


def _moving(panel: Panel, bins: Binned, pooled: Pooled, horizon: int) -> Array:
    """Probabilities of every state at every step to come by the three experts: (series, horizon, BINS).

    A series that has stood still for a season or more is looked at as it was before: what it does once it moves again
    cannot be learnt from when it did not.
    """
    season, still = panel.season, standing(panel.values)
    ages = np.arange(still.shape[1], 0, -1) - 1
    spell = still[:, -1:]
    stopped = np.flatnonzero(spell >= season)
    states = bins.states
    states[stopped] = np.where(ages <= spell[stopped], -1, states[stopped])
    width = states.shape[1]
    lag = min(season, max(1, width - 1))
    counted = chances(states, _phases(panel, 0, width), (pooled.last, pooled.seasonal), season, lag)
    return carried(counted, _phases(panel, width, horizon), pooled.weights)


def _still(values: Array, season: int, pooled: Pooled, horizon: int) -> tuple[Array, Array]:
    """Chance of still standing at every step (series, horizon), and the value stood at (series)."""
    filled = np.nan_to_num(values[:, -1])
    spell = standing(values)[:, -1]
    rows = np.flatnonzero(spell)
    spell[rows] = unusual(values[rows], season)[:, -1]
    chance, rows = np.zeros((len(values), horizon)), np.flatnonzero(spell)
    ages = spell[rows, None] + np.arange(horizon)[None, :]
    chance[rows] = np.cumprod(pooled.staying[span_of(ages)], axis=1)
    return chance, filled


def _mixed(points: Array, moving: Array, still: Array, value: Array) -> Array:
    """Quantiles of: with chance ``still`` the same value, else a point of a state drawn by ``moving``."""
    values = np.concatenate([points.reshape(len(points), -1), value[:, None]], axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    kinds = (order // POINTS).astype(np.uint8)
    return point_quantiles(np.take_along_axis(values, order, axis=1), kinds, moving, still, 1 / POINTS)
