"""The regime of waking up: a series that stood still for long and moves again either falls back or stays awake.

How likely it is to be back at the old value so many windows later, and where it goes otherwise, is counted over all
series of the panel, by how long it had stood still and for how long it has been awake. A model that averages over a
week sees little of an hour-old change; these counts see nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS
from models.forecasters.markov_states import standing, unusual
from models.regimes import with_regime

Array = NDArray[np.float64]
Index = NDArray[np.int64]

SPELLS = (0.5, 1.0, 3.0, 7.0)
"""Spells of standing still are told apart from these lengths on, in seasons; shorter ones are no spells."""

AWAKE = (1 / 24, 2 / 24, 4 / 24, 8 / 24, 16 / 24, 1.0)
"""Times awake are told apart from these on, in seasons."""

LONGEST = 2.0
"""Whoever is awake for so many seasons has a past of its own."""

AHEAD = (1 / 24, 4 / 24, 12 / 24, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
"""How far ahead is looked, in seasons."""

PRIOR = 5.0
"""Counts of one length of spell are shrunk to those of all with this weight; so are all to one half."""

TRUST = 20.0
"""With so many wakings counted, the forecast is half this regime's and half the model's."""


@dataclass(frozen=True, slots=True)
class Wakings:
    """Counts over all series: ``away`` and ``seen`` (spells, awake, ahead), logarithms ``ratios`` (awake, levels)."""

    away: Array
    seen: Array
    ratios: Array

    def arrays(self) -> dict[str, Any]:
        """The counts by name."""
        return {"onset_away": self.away, "onset_seen": self.seen, "onset_ratios": self.ratios}

    @classmethod
    def of(cls, arrays: Mapping[str, Any]) -> Self:
        """The counts that `arrays` gave."""
        return cls(*(np.asarray(arrays[f"onset_{name}"], dtype=np.float64) for name in ("away", "seen", "ratios")))


@dataclass(frozen=True, slots=True)
class _Awake:
    """Series (rows) awake at ``cuts``: since when, after which spell, the value left, and the level since."""

    rows: Index
    cuts: Index
    age: Index
    spell: Index
    old: Array
    level: Array


def count_wakings(values: Array, season: int) -> Wakings:
    """Counts of all wakings in a panel of values (series, windows)."""
    width = values.shape[1]
    shape = (len(SPELLS), len(AWAKE), len(AHEAD))
    away, seen, ratios = np.zeros(shape), np.zeros(shape), [[np.zeros(0)] for _ in AWAKE]
    still, woken = unusual(values, season), _woken(values)
    for place, awake in enumerate(AWAKE):
        found = _awake_for(values, still, woken & (still[:, :-1] >= SPELLS[0] * season), max(1, round(awake * season)))
        group = _bucket(found.spell / season, SPELLS)
        for reach, ahead in enumerate(AHEAD):
            at = found.cuts + max(1, round(ahead * season)) - 1
            inside = at < width
            later = values[found.rows[inside], at[inside]]
            known = np.isfinite(later)
            gone = later != found.old[inside]
            np.add.at(seen[:, place, reach], group[inside][known], 1.0)
            np.add.at(away[:, place, reach], group[inside][known & gone], 1.0)
            both = known & gone & (later > 0) & (found.level[inside] > 0)
            ratios[place].append(np.log(later[both] / found.level[inside][both]))
    return Wakings(away, seen, np.stack([_spread(np.concatenate(part)) for part in ratios]))


def with_onset(steps: Array, values: Array, season: int, wakings: Wakings) -> Array:
    """Forecasts (series, horizon, levels) in which series that have just woken up follow the counts."""
    found = _awake_now(values, season) if values.shape[1] > 1 else None
    if found is None or not len(found.rows):
        return steps
    horizon = steps.shape[1]
    group, place = _bucket(found.spell / season, SPELLS), _bucket(found.age / season, AWAKE)
    chance = _staying(wakings)[group, place]
    ahead = (np.arange(horizon) + 1) / season
    awake = np.stack([np.interp(ahead, AHEAD, row) for row in chance])
    moving = found.level[:, None] * np.exp(wakings.ratios[place])
    moving = np.repeat(moving[:, None, :], horizon, axis=1)
    regime = with_regime(moving, 1 - awake, found.old)
    count = wakings.seen[:, :, 0].sum(axis=0)[place]
    trust = (count / (count + TRUST))[:, None, None]
    out = steps.copy()
    out[found.rows] = (1 - trust) * steps[found.rows] + trust * regime
    return out


def _staying(wakings: Wakings) -> Array:
    """Chance of being away from the old value: (spells, awake, ahead), those of one spell shrunk to those of all."""
    away, seen = wakings.away.sum(axis=0), wakings.seen.sum(axis=0)
    whole = (away + PRIOR / 2) / (seen + PRIOR)
    return np.asarray((wakings.away + PRIOR * whole) / (wakings.seen + PRIOR), dtype=np.float64)


def _awake_for(values: Array, still: Index, woken: NDArray[np.bool_], age: int) -> _Awake:
    """Every moment at which a series had been awake for exactly ``age`` windows."""
    rows, at = np.nonzero(woken)
    at = at + 1
    fits = at + age <= values.shape[1]
    return _kept(values, rows[fits], at[fits], np.full(int(fits.sum()), age), still)


def _awake_now(values: Array, season: int) -> _Awake:
    """Series whose last long spell ended at most `LONGEST` seasons ago."""
    reach = max(1, min(values.shape[1] - 1, round(LONGEST * season)))
    still = standing(values)
    recent = _woken(values)[:, -reach:] & (still[:, -reach - 1 : -1] >= SPELLS[0] * season)
    # Few woke up after any long spell, and only theirs are compared with other nights.
    rows = np.nonzero(recent.any(axis=1))[0]
    still[rows] = unusual(values[rows], season)
    recent[rows] &= still[rows, -reach - 1 : -1] >= SPELLS[0] * season
    rows = np.nonzero(recent.any(axis=1))[0]
    age = recent[rows, ::-1].argmax(axis=1) + 1
    return _kept(values, rows, values.shape[1] - age, age, still)


def _woken(values: Array) -> NDArray[np.bool_]:
    """Where each window but the first (series, windows - 1) moves, and is known."""
    return np.asarray(np.isfinite(values[:, 1:]) & (values[:, 1:] != values[:, :-1]))


def _kept(values: Array, rows: Index, at: Index, age: Index, still: Index) -> _Awake:
    """Those that have been away from the value they left ever since they woke up at windows ``at``."""
    old = values[rows, at - 1]
    spell = still[rows, at - 1]
    level, away = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    for length in np.unique(age):
        pick = np.nonzero(age == length)[0]
        part = values[rows[pick, None], at[pick, None] + np.arange(length)[None, :]]
        away[pick] = (part != old[pick, None]).all(axis=1) & np.isfinite(part).all(axis=1)
        level[pick] = np.median(part, axis=1)
    away &= np.isfinite(old)
    return _Awake(rows[away], (at + age)[away], age[away], spell[away], old[away], level[away])


def _bucket(lengths: Array, bounds: tuple[float, ...]) -> Index:
    return np.clip(np.searchsorted(np.asarray(bounds), lengths + 1e-9, side="right") - 1, 0, len(bounds) - 1)


def _spread(ratios: Array) -> Array:
    """Quantiles of logarithms of ratios, shrunk to none by five of one."""
    return np.asarray(np.quantile(np.concatenate([ratios, np.zeros(5)]), LEVELS), dtype=np.float64)
