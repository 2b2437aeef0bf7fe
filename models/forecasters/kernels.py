"""Kernels: how alike two windows of a series are, by how far apart they lie; and the forecasts that follow from it.

A kernel is a sum of parts: a season and a week that change slowly (MacKay's periodic kernel times an exponential),
levels that hold for weeks, days and hours (Ornstein-Uhlenbeck processes), and noise. All depend on the distance alone,
so one factorisation serves every series of a panel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

WEEK = 7.0
"""Seasons in the longer cycle; days, where a season is one."""

FREE_LEVEL = 1.0
"""Variance of a level that holds for good, as large as all other parts together: the mean is hardly known ahead."""

JITTER = 1e-6

LONGEST = 1008
"""Windows of the past at most: a factorisation costs their number to the third power."""

PARTS = ("season", "week", "weeks level", "days level", "hours level", "noise")
LENGTHS = (0.6, 28.0, 0.25, 60.0, 14.0, 1.5, 0.12)
"""Where learning starts: roughness and life of the season, of the week, lives of the three levels; lives in seasons."""

STARTS = (
    (0.30, 0.20, 0.10, 0.10, 0.15, 0.15),
    (0.50, 0.30, 0.05, 0.05, 0.05, 0.05),
    (0.10, 0.05, 0.20, 0.20, 0.30, 0.15),
    (0.10, 0.10, 0.05, 0.05, 0.10, 0.60),
    (0.10, 0.40, 0.05, 0.10, 0.20, 0.15),
    (0.05, 0.02, 0.50, 0.20, 0.13, 0.10),
)
"""Shares of the parts in kernels of several kinds: seasonal, very regular, restless, noisy, weekly, drifting."""

Setting = tuple[tuple[float, ...], tuple[float, ...]]
"""Shares of the parts and the lengths of one kernel."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """What a kernel says of ``horizon`` windows after ``width`` known ones, for any series of variance 1.

    ``mean`` (horizon, width) turns a past into what is expected next; ``deviation`` (horizon) is how far off that is.
    ``whitening`` (judged, judged) turns the last of the past into independent steps, ``volume`` is the log-determinant
    of its covariance: a past is as likely as its steps are small.
    """

    whitening: Tensor
    mean: Tensor
    deviation: Tensor
    volume: float


def covariance(lag: Tensor, season: int, shares: Tensor, lengths: Tensor) -> Tensor:
    """Covariance of windows ``lag`` apart; shares (6) add up to 1, lengths (7) as `LENGTHS` has them."""
    apart = lag / season
    rough, season_life, week_rough, week_life, weeks, days, hours = lengths
    daily = torch.exp(-2 * torch.sin(torch.pi * apart) ** 2 / rough**2 - apart / season_life)
    weekly = torch.exp(-2 * torch.sin(torch.pi * apart / WEEK) ** 2 / week_rough**2 - apart / week_life)
    levels = [share * torch.exp(-apart / life) for share, life in zip(shares[2:5], (weeks, days, hours), strict=True)]
    out: Tensor = shares[0] * daily + shares[1] * weekly + sum(levels) + shares[5] * (lag == 0) + FREE_LEVEL
    return out


def factor(covariances: Tensor, width: int) -> Tensor:
    """Lower Cholesky factor (width, width) of the covariances at distances 0, 1, ..."""
    place = torch.arange(width)
    matrix = covariances[(place[:, None] - place[None, :]).abs()]
    lower: Tensor = torch.linalg.cholesky(matrix + JITTER * torch.eye(width, dtype=matrix.dtype))
    return lower


@lru_cache(maxsize=48)
def posterior(setting: Setting, season: int, width: int, horizon: int, judged: int = 1) -> Posterior:
    """The forecast of a Gaussian process (Rasmussen & Williams, 2006, algorithm 2.1), as matrices for all series."""
    step = int(WEEK) * season
    whole = max(width, min(LONGEST, -(-width // step) * step))
    known = _factored(setting, season, whole, horizon) if width < whole else _factor_of(setting, season, width, horizon)
    half = known.half[:width]
    mean = torch.linalg.solve_triangular(known.lower[:width, :width].T, half, upper=True).T.flip(1)
    spread = (known.variance - (half**2).sum(dim=0)).clamp(min=1e-9).sqrt()
    whitening, volume = _whitening(setting, season, judged)
    return Posterior(whitening, mean.float().contiguous(), spread, volume)


class _Factored(NamedTuple):
    """A Cholesky factor ``lower`` (width, width), and ``half`` (width, horizon), what it leaves of covariances ahead.

    Windows are told from the latest back, so that the first rows of both are those of any shorter past: a series whose
    past grows by a window is not factored again.
    """

    variance: float
    lower: Tensor
    half: Tensor


def _factor_of(setting: Setting, season: int, width: int, horizon: int) -> _Factored:
    near = _covariances(setting, season, width + horizon + 1)
    lower = factor(near, width)
    cross = near[1 + torch.arange(width)[:, None] + torch.arange(horizon)[None, :]]
    return _Factored(float(near[0]), lower, torch.linalg.solve_triangular(lower, cross, upper=False))


_factored = lru_cache(maxsize=12)(_factor_of)


@lru_cache(maxsize=48)
def _whitening(setting: Setting, season: int, judged: int) -> tuple[Tensor, float]:
    """What makes ``judged`` windows independent, and the log-determinant of their covariance."""
    lower = factor(_covariances(setting, season, judged), judged)
    whitening = torch.linalg.solve_triangular(lower, torch.eye(judged, dtype=torch.float64), upper=False)
    return whitening.float(), float(2 * torch.log(torch.diagonal(lower)).sum())


def _covariances(setting: Setting, season: int, count: int) -> Tensor:
    """Covariances at distances 0, 1, ..."""
    shares, lengths = (torch.tensor(part, dtype=torch.float64) for part in setting)
    return covariance(torch.arange(count, dtype=torch.float64), season, shares, lengths)
