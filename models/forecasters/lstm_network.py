"""The LSTM's network: patches of a normalised context in; quantiles, a Student-t and a total of what is to come out."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, softplus

from models.contracts import LEVELS

CANDIDATES = 15
"""Plain guesses per step, from `models.forecasters.lstm_candidates`."""

STEP_FEATURES = 6
"""Per step to come, beside the guesses: spread over seasons, phase (2), week (2), how far ahead."""

TRAITS = 8
LABEL_SIZE = 4
DROPOUT = 0.1
UNKNOWN = 0.1
"""So often a label is hidden in training, so that what a new operation is forecast with is trained too."""

TAIL_LOSS = 0.1
"""Weight of the Student-t's log-likelihood beside the pinball losses."""

NORMAL = (-1.281552, -0.841621, -0.524401, -0.253347, 0.0, 0.253347, 0.524401, 0.841621, 1.281552)
"""The normal distribution's quantiles at `LEVELS`."""


class Outputs(NamedTuple):
    """Normalised: quantiles of steps (batch, horizon, levels) and of their mean (batch, levels), and Student-t's.

    ``tails`` (batch, horizon, 3) are location (from the median), scale and degrees of freedom.
    """

    steps: Tensor
    mean: Tensor
    tails: Tensor


class LstmNetwork(nn.Module):
    """An LSTM over patches, a decoder per step that weighs guesses; all relative to the context's level and scale.

    Inputs as `models.forecasters.lstm_data.Seen` has them (reversible instance normalisation: Kim et al., 2022).
    """

    def __init__(self, patch: int, hidden: int, layers: int, labels: tuple[int, ...], planned: int) -> None:
        super().__init__()
        self.patch = patch
        self.encoder = nn.LSTM(2 * patch, hidden, layers, batch_first=True)
        self.labels = nn.ModuleList(_embedding(size) for size in labels)
        self.summary = nn.Linear(hidden + len(LEVELS) + TRAITS + LABEL_SIZE * len(labels), hidden)
        self.dropout = nn.Dropout(DROPOUT)
        width = hidden + CANDIDATES + STEP_FEATURES + planned
        self.decoder = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())
        self.head = nn.Linear(hidden, len(LEVELS) + 1 + CANDIDATES)
        self.tails = nn.Linear(hidden, 3)
        self.total = nn.Sequential(
            nn.Linear(hidden + CANDIDATES, hidden), nn.GELU(), nn.Linear(hidden, len(LEVELS) + 2 + CANDIDATES)
        )
        self.middle = LEVELS.index(0.5)

    def forward(self, context: Tensor, steps: Tensor, traits: Tensor, codes: Tensor) -> Outputs:
        """Rising quantiles of every step and of the mean over all steps, and the Student-t of every step."""
        guesses = steps[..., :CANDIDATES]
        _, (state, _) = self.encoder(self.patches(context))
        levels = torch.tensor(LEVELS, device=context.device, dtype=torch.float32)
        spread = torch.quantile(context[..., 0].float(), levels, dim=1).T.to(context.dtype)
        summary = self.summarised(state[-1], spread, traits, codes)
        decoded = self._decoded(summary, torch.cat([asinh(guesses), steps[..., CANDIDATES:]], dim=2))
        # What the heads say is put together in 32 bits, whatever precision the layers before were computed in.
        quantiles = self._risen(self.head(decoded).float(), guesses)
        level = guesses.mean(dim=1)
        median = quantiles[..., self.middle].mean(dim=1, keepdim=True).detach()
        raw = self.total(torch.cat([summary, asinh(level)], dim=1)).float()
        mean = self._risen(raw, torch.cat([level, median], dim=1))
        place, scale, freedom = self.tails(decoded).float().unbind(dim=-1)
        centre = quantiles[..., self.middle].detach() + place
        tails = torch.stack([centre, softplus(scale) + 1e-2, 2.1 + softplus(freedom + 1)], dim=-1)
        return Outputs(quantiles, mean, tails)

    def patches(self, context: Tensor) -> Tensor:
        """What the encoder takes, step by step (batch, patches, 2 x patch): values, and whether they are known."""
        shape = (len(context), -1, self.patch)
        return torch.cat([asinh(context[..., 0]).reshape(shape), context[..., 1].reshape(shape)], dim=2)

    def summarised(self, state: Tensor, spread: Tensor, traits: Tensor, codes: Tensor) -> Tensor:
        """The context in short (batch, hidden): what the encoder says (same), its quantiles, traits and kinds."""
        if self.training:
            codes = torch.where(torch.rand(codes.shape, device=codes.device) < UNKNOWN, 0, codes)
        kinds = [label(codes[:, field]) for field, label in enumerate(self.labels)]
        joined = torch.cat([state, asinh(spread), traits, *kinds], dim=1)
        out: Tensor = self.dropout(gelu(self.summary(joined)))
        return out

    def _decoded(self, summary: Tensor, steps: Tensor) -> Tensor:
        """The decoder's layers; the first one's share of the summary is computed once, not for every step."""
        first, size = self.decoder[0], summary.shape[1]
        assert isinstance(first, nn.Linear)
        once = linear(summary, first.weight[:, :size], first.bias)
        out: Tensor = self.decoder[1:](linear(steps, first.weight[:, size:]) + once[:, None, :])
        return out

    def _risen(self, raw: Tensor, guesses: Tensor) -> Tensor:
        """Rising quantiles around a mixture of guesses (..., count) and a correction."""
        count = len(LEVELS)
        trust = torch.softmax(raw[..., count + 1 :], dim=-1)
        centre = ((trust * guesses).sum(dim=-1) + raw[..., count])[..., None]
        gaps = softplus(raw[..., :count])
        upper = torch.cumsum(gaps[..., self.middle + 1 :], dim=-1)
        lower = torch.cumsum(gaps[..., : self.middle].flip(-1), dim=-1).flip(-1)
        return torch.cat([centre - lower, centre, centre + upper], dim=-1)


def asinh(values: Tensor) -> Tensor:
    """Inverse hyperbolic sine, as torch.asinh, from functions that torch computes many times faster."""
    size = values.abs()
    return torch.log1p(size + size**2 / (1 + torch.sqrt(1 + size**2))).copysign(values)


def _embedding(size: int) -> nn.Embedding:
    """Numbers of a field's values, and of number 0 for all others; small, as each is learnt from few series."""
    embedding = nn.Embedding(size + 1, LABEL_SIZE)
    nn.init.normal_(embedding.weight, std=0.1)
    return embedding


def with_tails(outputs: Outputs) -> Tensor:
    """Quantiles of every step: those of the quantile head, outside P30 to P70 averaged with the Student-t's.

    A Student-t's quantile is expanded in the normal's (Abramowitz & Stegun, 26.7.5).
    """
    z = torch.tensor(NORMAL, device=outputs.steps.device, dtype=outputs.steps.dtype)
    centre, scale, freedom = (part[..., None] for part in outputs.tails.unbind(dim=-1))
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    student = centre + scale * (z + first / freedom + second / freedom**2)
    share = torch.where(z.abs() > 0.6, 0.5, 0.0)
    return (1 - share) * outputs.steps + share * student


def forecast_loss(outputs: Outputs, actual: Tensor, weight: Tensor) -> Tensor:
    """Pinball loss of steps and mean and likelihood of tails, against (batch, horizon), where ``weight`` is not 0."""
    whole = (weight > 0).all(dim=1).to(weight.dtype)
    quantiles = pinball(outputs.steps, actual, weight) + pinball(outputs.mean, actual.mean(dim=1), whole)
    centre, scale, freedom = outputs.tails.unbind(dim=-1)
    student = torch.distributions.StudentT(freedom, centre, scale, validate_args=False)
    likelihood: Tensor = student.log_prob(actual)  # type: ignore[no-untyped-call]
    surprise = -(likelihood * weight).sum() / weight.sum().clamp(min=1.0)
    return quantiles + TAIL_LOSS * surprise


def pinball(quantiles: Tensor, actual: Tensor, weight: Tensor) -> Tensor:
    """Mean pinball loss of (..., levels) against (...,), where ``weight`` (same) is not zero."""
    levels = torch.tensor(LEVELS, device=quantiles.device, dtype=quantiles.dtype)
    error = actual[..., None] - quantiles
    loss = torch.maximum(levels * error, (levels - 1) * error).mean(dim=-1)
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)
