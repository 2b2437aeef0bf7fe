"""Learning kernels from a panel: every series is a draw from one of a few Gaussian processes that all share.

The shares and lengths of the kernels are those under which the pasts of all series are likeliest (type II maximum
likelihood; Rasmussen & Williams, 2006, chapter 5), the variance of each series being its own and integrated by its
maximum. They start from plain guesses and are held near them by a prior, so a panel of a few series does not lead far.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.forecasters.kernels import LENGTHS, STARTS, Setting, covariance, factor
from models.forecasters.scales import SCALES, Scaled, scaled

Array = NDArray[np.float64]
STEPS = 60
RATE = 0.05
SEASONS = 14
"""So much of the past is learnt from."""

WIDTH = 400
"""In so many windows at most."""

SERIES = 200
"""From so many series at most, drawn at random."""

PRIOR = 2e-3
"""Weight of the squared distance of the logarithms of lengths from where they start, per series and window."""

SHARE_PRIOR = 0.3
"""The same of shares, in units of `PRIOR`."""

LEAST_VARIANCE = 1e-4
PRIOR_COUNT = 3.0


def starts() -> tuple[Setting, ...]:
    """The kernels that learning starts from."""
    return tuple((shares, LENGTHS) for shares in STARTS)


def learnt(values: Array, season: int) -> tuple[Setting, ...]:
    """Kernels for a panel's values (series, windows); those that learning starts from where there is too little."""
    past = values[:, -min(SEASONS * season, WIDTH) :]
    moving = past[np.nan_to_num(np.nanmax(past, axis=1, initial=-np.inf) - np.nanmin(past, axis=1, initial=np.inf)) > 0]
    if past.shape[1] < min(2 * season, WIDTH) or not len(moving):
        return starts()
    if len(moving) > SERIES:
        moving = moving[np.sort(np.random.default_rng(0).choice(len(moving), SERIES, replace=False))]
    parts = {name: scaled(moving, name, season) for name in SCALES}
    first_shares = torch.log(torch.tensor(STARTS, dtype=torch.float64))
    first_lengths = torch.log(torch.tensor([LENGTHS] * len(STARTS), dtype=torch.float64))
    shares, lengths = first_shares.clone().requires_grad_(), first_lengths.clone().requires_grad_()
    optimizer = torch.optim.Adam([shares, lengths], RATE)
    with torch.enable_grad():
        for _ in range(STEPS):
            found = [
                likelihood(parts[scale_of(place)], season, torch.softmax(shares[place], 0), torch.exp(lengths[place]))
                for place in range(len(STARTS))
            ]
            width = moving.shape[1]
            loss = -(torch.logsumexp(torch.stack(found), dim=0) / width).mean()
            held = ((lengths - first_lengths) ** 2).sum() + SHARE_PRIOR * ((shares - first_shares) ** 2).sum()
            optimizer.zero_grad()
            (loss + PRIOR / len(STARTS) * held).backward()
            optimizer.step()
    pairs = zip(torch.softmax(shares.detach(), 1).tolist(), torch.exp(lengths.detach()).tolist(), strict=True)
    return tuple((tuple(one), tuple(other)) for one, other in pairs)


def scale_of(place: int) -> str:
    """The scale that a kernel works on, by its place: kernels take turns."""
    return SCALES[place % len(SCALES)]


def likelihood(part: Scaled, season: int, shares: Tensor, lengths: Tensor) -> Tensor:
    """Log-likelihood of each series (series,) at the variance that makes it likeliest."""
    width = part.values.shape[1]
    lower = factor(covariance(torch.arange(width, dtype=torch.float64), season, shares, lengths), width)
    steps = torch.linalg.solve_triangular(lower, torch.as_tensor(part.values).T, upper=False)
    own = variance((steps**2).sum(dim=0), width)
    out: Tensor = (
        -0.5 * width * torch.log(own)
        - torch.log(torch.diagonal(lower)).sum()
        + torch.as_tensor(part.slopes.sum(axis=1))
    )
    return out


def variance(squares: Tensor, width: int) -> Tensor:
    """Variance of each series from its sum of squared independent steps; never quite zero."""
    return (squares + PRIOR_COUNT * LEAST_VARIANCE) / (width + PRIOR_COUNT)
