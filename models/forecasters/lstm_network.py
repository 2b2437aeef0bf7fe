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
        self.middle = LEVELS.index(0.5)

    def forward(self, context: Tensor, steps: Tensor) -> Tensor:
        """Quantiles of shape (batch, horizon, levels)."""
        batch = context.shape[0]
        _, (state, _) = self.encoder(context.reshape(batch, -1, self.patch))
        levels = torch.tensor(LEVELS, device=context.device, dtype=context.dtype)
        spread = torch.quantile(context, levels, dim=1).T
        summary = torch.nn.functional.gelu(self.summary(torch.cat([state[-1], spread], dim=1)))
        wide = summary[:, None, :].expand(-1, steps.shape[1], -1)
        raw = self.head(self.decoder(torch.cat([wide, steps], dim=2)))
        # The median is a mixture of what the last season and the mean of seasons say, and a correction to it.
        skip = torch.softmax(raw[..., -2:], dim=-1)
        centre = (skip * steps[..., :2]).sum(dim=-1) + raw[..., self.middle]
        gaps = torch.nn.functional.softplus(raw[..., : len(LEVELS)])
        upper = torch.cumsum(gaps[..., self.middle + 1 :], dim=-1)
        lower = torch.cumsum(gaps[..., : self.middle].flip(-1), dim=-1).flip(-1)
        centre = centre[..., None]
        return torch.cat([centre - lower, centre, centre + upper], dim=-1)


def pinball(quantiles: Tensor, actual: Tensor, weight: Tensor) -> Tensor:
    """Mean pinball loss of (batch, horizon, levels) against (batch, horizon), where ``weight`` (same) is not zero."""
    levels = torch.tensor(LEVELS, device=quantiles.device, dtype=quantiles.dtype)
    error = actual[..., None] - quantiles
    loss = torch.maximum(levels * error, (levels - 1) * error).mean(dim=-1)
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)
