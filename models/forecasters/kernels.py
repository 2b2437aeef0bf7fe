"""Kernels: how alike two windows of a series are, by how far apart they lie; and the forecasts that follow from it.

A kernel is a sum of parts: a season and a week that change slowly (MacKay's periodic kernel times an exponential),
levels that hold for weeks, days and hours (Ornstein-Uhlenbeck processes), and noise. All depend on the distance alone,
so one factorisation serves every series of a panel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

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
    shares, lengths = (torch.tensor(part, dtype=torch.float64) for part in setting)
    near = covariance(torch.arange(width + horizon, dtype=torch.float64), season, shares, lengths)
    lower = factor(near, width)
    ahead = width + torch.arange(horizon)
    cross = near[ahead[:, None] - torch.arange(width)[None, :]]
    half = torch.linalg.solve_triangular(lower, cross.T, upper=False)
    mean = torch.linalg.solve_triangular(lower.T, half, upper=True).T
    # A factor of the first windows is one of any others as far apart: what matters is the distance alone.
    part = lower[:judged, :judged]
    whitening = torch.linalg.solve_triangular(part, torch.eye(judged, dtype=torch.float64), upper=False)
    spread = (near[0] - (half**2).sum(dim=0)).clamp(min=1e-9).sqrt()
    volume = float(2 * torch.log(torch.diagonal(part)).sum())
    return Posterior(whitening.float(), mean.float().contiguous(), spread, volume)
