"""Plain guesses for every step to come, which the LSTM weighs and corrects: seasons, weeks, levels of several lengths.

A network that must only say which guess to trust, and by how much to miss it, learns from little data; all guesses
follow the series' own scale, so none depends on its size.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from models.forecasters.kernels import LENGTHS, LONGEST, STARTS, posterior
from models.forecasters.lstm_network import CANDIDATES

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
Guesses = NDArray[np.float32]
KERNELS = (STARTS[0], STARTS[2], STARTS[3], STARTS[4])
"""Kernels whose forecasts are guesses: of a seasonal, a restless, a noisy and a weekly series."""

WEEK = 7
"""Seasons in the longer cycle; days, where a season is one."""


def candidates(past: Array, context: int, season: int, horizon: int, width: int = CANDIDATES + 1) -> Guesses:
    """Guesses (batch, horizon, width) in the first `CANDIDATES` columns, then the spread over seasons at each phase.

    ``past`` (batch, windows) ends at the cut, is normalised, and has NaN for what is missing. In order: last season;
    mean and median over the context's seasons; a week ago; mean over weeks; last value; mean of the last sixth of a
    season; mean of the last season; median of the context; mean over all seasons at the phase; mean of all;
    what a Gaussian process expects under each of `KERNELS`. More columns than these are the caller's to fill.
    """
    out = np.empty((len(past), horizon, width), dtype=np.float32)
    if _kernels is not None:
        ranked = np.sort(past[:, -context:], axis=1)  # missing values come last
        sizes = (*past.shape, context, season, horizon, width, CANDIDATES)
        _kernels.guesses(np.ascontiguousarray(past), ranked, out, *sizes)
        whole = _known(_mean(past), 0.0)[:, None]
    else:
        guesses, spread, whole = _plain(past, context, season, horizon)
        out[:, :, : guesses.shape[2]] = guesses
        out[:, :, CANDIDATES] = np.minimum(spread, 20.0)
    _expected(past[:, -LONGEST:], whole, season, out[:, :, CANDIDATES - len(KERNELS) : CANDIDATES])
    return out


def _plain(past: Array, context: int, season: int, horizon: int) -> tuple[Array, Array, Array]:
    """What the compiled function does: guesses, the spread at each phase, and the mean of all (batch, 1)."""
    near = past[:, -context:]
    phase = np.arange(horizon) % season
    middle = _known(_median(near), 0.0)[:, None]
    whole = _known(_mean(past), 0.0)[:, None]
    seasons = _folded(near, season)
    average = _mean(seasons)
    mean = _known(average, middle)[:, phase]
    spread = _known(np.sqrt(_mean((seasons - average[:, None, :]) ** 2)), 1.0)[:, phase]
    weeks = _weeks(past, season, horizon)
    level = _known(_mean(near[:, -season:])[:, None], middle)
    flat = [
        _last(near)[:, None],
        _known(_mean(near[:, -max(1, season // 6) :])[:, None], level),
        level,
        middle,
    ]
    guesses = [
        _known(seasons[:, -1][:, phase], mean),
        mean,
        _known(_median(seasons)[:, phase], mean),
        _known(weeks[:, 0], mean),
        _known(_mean(weeks), mean),
        *(np.broadcast_to(one, mean.shape) for one in flat),
        _known(_mean(_folded(past, season))[:, phase], mean),
        np.broadcast_to(whole, mean.shape),
    ]
    return np.stack(guesses, axis=2), spread, whole


def _expected(past: Array, mean: Array, season: int, out: Guesses) -> None:
    """Into ``out`` (batch, horizon, kernels): forecasts of Gaussian processes around the mean (batch, 1)."""
    horizon = out.shape[1]
    around = torch.as_tensor(np.where(np.isfinite(past), past - mean, 0.0), dtype=torch.float32)
    # One product, of torch: NumPy's threads would wait for each other over so small ones.
    found = (around @ _maps(season, past.shape[1], horizon).T).numpy().reshape(len(past), len(KERNELS), horizon)
    out[:] = (mean[:, :, None] + found).transpose(0, 2, 1)


@lru_cache(maxsize=16)
def _maps(season: int, width: int, horizon: int) -> torch.Tensor:
    """Of all `KERNELS`, from the past to what is expected (kernels x horizon, width)."""
    return torch.cat([posterior((shares, LENGTHS), season, width, horizon).mean for shares in KERNELS])


def _mean(values: Array) -> Array:
    """The mean over the second axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def _median(values: Array) -> Array:
    """The median over the second axis of what is known; NaN where nothing is."""
    ranked = np.sort(values, axis=1)  # missing values come last
    count = np.isfinite(ranked).sum(axis=1)[:, None]
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2
    return 0.5 * (np.take_along_axis(ranked, low, axis=1) + np.take_along_axis(ranked, high, axis=1))[:, 0]


def _folded(values: Array, season: int) -> Array:
    """The last whole seasons (batch, seasons, season), a part of one where there is no whole; phase 0 is next."""
    whole = values.shape[1] // season
    if whole == 0:
        gap = np.full((len(values), season - values.shape[1]), np.nan)
        return np.concatenate([gap, values], axis=1)[:, None, :]
    return values[:, values.shape[1] - whole * season :].reshape(len(values), whole, season)


def _weeks(past: Array, season: int, horizon: int) -> Array:
    """The same window one, two and three weeks before (batch, 3, horizon); the last known week repeats."""
    week, width = WEEK * season, past.shape[1]
    ahead = np.arange(horizon)
    first = width + ahead - week * ((ahead + week) // week)
    place = first[None, :] - week * np.arange(3)[:, None]
    return np.where(place >= 0, past[:, np.maximum(place, 0)], np.nan)


def _last(values: Array) -> Array:
    """The last known value (batch,), 0 where there is none."""
    place = np.where(np.isfinite(values), np.arange(values.shape[1]), -1).max(axis=1)
    return np.where(place >= 0, values[np.arange(len(values)), place], 0.0)


def _known(values: Array, otherwise: Array | float) -> Array:
    return np.where(np.isfinite(values), values, otherwise)
