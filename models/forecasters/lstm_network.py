"""The LSTM's network: patches of a normalised context in, quantiles of every step to come out at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.contracts import LEVELS

STEP_FEATURES = 8
"""Per step to come: seasonal values (2), phase and week (4), how far ahead (1), and how much history there was (1)."""


class LstmNetwork(nn.Module):
    """An LSTM over patches, a decoder per step; everything is relative to the context's level and scale.

    ``context`` (batch, context) and ``steps`` (batch, horizon, STEP_FEATURES) are normalised (reversible instance
    normalisation: Kim et al., 2022); the answer (batch, horizon, levels) is too, and rises with the level.
    """

    def __init__(self, context: int, patch: int, hidden: int = 64, layers: int = 1) -> None:
        super().__init__()
        self.patch = patch
        self.context = context
        self.encoder = nn.LSTM(patch, hidden, layers, batch_first=True)
        self.summary = nn.Linear(hidden + len(LEVELS), hidden)
        self.decoder = nn.Sequential(
            nn.Linear(hidden + STEP_FEATURES, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()
        )
        self.head = nn.Linear(hidden, len(LEVELS) + 2)
        self.total = nn.Sequential(nn.Linear(hidden + 2, hidden), nn.GELU(), nn.Linear(hidden, len(LEVELS) + 2))
        self.middle = LEVELS.index(0.5)

    def forward(self, context: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Quantiles of every step (batch, horizon, levels) and of the mean over all of them (batch, levels)."""
        batch = context.shape[0]
        _, (state, _) = self.encoder(context.reshape(batch, -1, self.patch))
        levels = torch.tensor(LEVELS, device=context.device, dtype=context.dtype)
        spread = torch.quantile(context, levels, dim=1).T
        summary = torch.nn.functional.gelu(self.summary(torch.cat([state[-1], spread], dim=1)))
        wide = summary[:, None, :].expand(-1, steps.shape[1], -1)
        known = steps[..., :2].mean(dim=1)
        mean = self._risen(self.total(torch.cat([summary, known], dim=1)), known)
        return self._risen(self.head(self.decoder(torch.cat([wide, steps], dim=2))), steps[..., :2]), mean

    def _risen(self, raw: Tensor, known: Tensor) -> Tensor:
        """Rising quantiles around a mixture of the two values known ahead (last season, mean of seasons)."""
        skip = torch.softmax(raw[..., -2:], dim=-1)
        centre = (skip * known).sum(dim=-1) + raw[..., self.middle]
        gaps = torch.nn.functional.softplus(raw[..., : len(LEVELS)])
        upper = torch.cumsum(gaps[..., self.middle + 1 :], dim=-1)
        lower = torch.cumsum(gaps[..., : self.middle].flip(-1), dim=-1).flip(-1)
        centre = centre[..., None]
        return torch.cat([centre - lower, centre, centre + upper], dim=-1)


def forecast_loss(quantiles: tuple[Tensor, Tensor], actual: Tensor, weight: Tensor) -> Tensor:
    """Pinball loss of the steps and of their mean, against (batch, horizon), where ``weight`` (same) is not zero."""
    steps, mean = quantiles
    whole = (weight > 0).all(dim=1).to(weight.dtype)
    return pinball(steps, actual, weight) + pinball(mean, actual.mean(dim=1), whole)


def pinball(quantiles: Tensor, actual: Tensor, weight: Tensor) -> Tensor:
    """Mean pinball loss of (..., levels) against (...,), where ``weight`` (same) is not zero."""
    levels = torch.tensor(LEVELS, device=quantiles.device, dtype=quantiles.dtype)
    error = actual[..., None] - quantiles
    loss = torch.maximum(levels * error, (levels - 1) * error).mean(dim=-1)
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)
