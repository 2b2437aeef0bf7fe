"""Examples for the LSTM: pieces of a panel, each normalised by its own level and scale, and what is known ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.forecasters.lstm_candidates import candidates
from models.forecasters.lstm_network import CANDIDATES, STEP_FEATURES
from models.forecasters.markov_states import standing
from models.labels import codes
from models.panel import Panel

Array = NDArray[np.float64]
WEEK_NS = 7 * 86_400 * 1_000_000_000
MEMORY = 28
"""So many seasons before a cut are looked at for what the context is too short for."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of an example, in windows; ``context`` is a multiple of ``patch``.

    ``labels`` are the operations, micro-operation types and resources that the network tells apart, ``planned`` how
    many kinds of planned events it is told of.
    """

    context: int
    horizon: int
    patch: int
    season: int
    labels: tuple[tuple[str, ...], ...] = ()
    planned: int = 0


@dataclass(frozen=True, slots=True)
class Examples:
    """Normalised inputs, targets and weights, and the level and scale (batch, 1) that undo the normalisation."""

    context: Tensor
    steps: Tensor
    traits: Tensor
    codes: Tensor
    target: Tensor
    weight: Tensor
    level: Array
    scale: Array

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the network takes."""
        return self.context, self.steps, self.traits, self.codes


def examples(panel: Panel, rows: NDArray[np.int64], cuts: NDArray[np.int64], shape: Shape) -> Examples:
    """Examples of the given series, each seen up to its own cut; targets are the windows from the cut on.

    Nothing from a cut on enters the context, the level, the scale, the traits or the steps but planned events.
    """
    past = _before(panel, rows, cuts, max(shape.context, MEMORY * shape.season))
    context = past[:, -shape.context :]
    level, scale = _normaliser(context, past)
    past = np.clip((past - level) / scale, -50, 50)
    known = np.isfinite(past[:, -shape.context :])
    values = np.where(known, past[:, -shape.context :], 0.0)
    ahead = cuts[:, None] + np.arange(shape.horizon)[None, :]
    exists = ahead < panel.windows
    target = np.where(exists, panel.values[rows[:, None], np.minimum(ahead, panel.windows - 1)], np.nan)
    weight = np.isfinite(target)
    target = np.clip(np.where(weight, (target - level) / scale, 0.0), -20, 20)
    parts = (
        np.stack([np.clip(values, -20, 20), known], axis=2),
        _steps(past, ahead, panel, shape),
        _traits(past, context, cuts, level, scale, shape),
        target,
        weight,
    )
    tensors = [torch.as_tensor(part, dtype=torch.float32) for part in parts]
    labels = torch.as_tensor(codes(panel, rows, shape.labels))
    return Examples(tensors[0], tensors[1], tensors[2], labels, tensors[3], tensors[4], level, scale)


def _before(panel: Panel, rows: NDArray[np.int64], cuts: NDArray[np.int64], width: int) -> Array:
    """The ``width`` windows before each cut (batch, width), NaN before the panel's first."""
    place = cuts[:, None] - width + np.arange(width)[None, :]
    return np.where(place >= 0, panel.values[rows[:, None], np.maximum(place, 0)], np.nan)


def _normaliser(context: Array, past: Array) -> tuple[Array, Array]:
    """Mean and spread of each context (batch, 1).

    The spread never falls below a hundredth of the level, nor below a tenth of that of the longer past: a series that
    has stood still for a week still has the scale of what it did before.
    """
    level, spread = _moments(context)
    longer = _moments(past)[1]
    return level, np.maximum(np.maximum(spread, 0.1 * longer), np.maximum(0.01 * np.abs(level), 1e-9))


def _moments(values: Array) -> tuple[Array, Array]:
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, values, 0.0).sum(axis=1, keepdims=True) / count
    return mean, np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=1, keepdims=True) / count)


def _steps(past: Array, ahead: NDArray[np.int64], panel: Panel, shape: Shape) -> Array:
    """What is known of the steps to come: (batch, horizon, CANDIDATES + STEP_FEATURES + planned)."""
    guesses, spread = candidates(past, shape.context, shape.season, shape.horizon)
    index = panel.start_ns // panel.window_ns + ahead
    phase = 2 * np.pi * (index % shape.season) / shape.season
    week = 2 * np.pi * ((index * panel.window_ns) % WEEK_NS) / WEEK_NS
    far = np.broadcast_to(np.log1p(np.arange(shape.horizon)) / 5, phase.shape)
    known = np.stack([spread, np.sin(phase), np.cos(phase), np.sin(week), np.cos(week), far], axis=2)
    assert guesses.shape[2] == CANDIDATES
    assert known.shape[2] == STEP_FEATURES
    events = np.zeros((*ahead.shape, shape.planned))
    if panel.planned is not None and shape.planned:
        inside = np.minimum(ahead, panel.planned.shape[1] - 1)
        found = np.where(ahead < panel.planned.shape[1], panel.planned[:, inside], 0.0)[: shape.planned]
        events[:, :, : len(found)] = np.moveaxis(found, 0, 2)
    return np.concatenate([guesses, np.clip(known, -20, 20), events], axis=2, dtype=np.float32)


def _traits(past: Array, context: Array, cuts: NDArray[np.int64], level: Array, scale: Array, shape: Shape) -> Array:
    """What holds for a whole example (batch, TRAITS): how much is known, how long it stands still, how idle it is."""
    width = context.shape[1]
    longer = _moments(past)
    size = np.log(np.abs(level[:, 0]) / scale[:, 0] + 1e-3) / 3
    return np.stack(
        [
            np.minimum(cuts / width, 1.0),
            np.isfinite(context).mean(axis=1),
            np.log1p(standing(past)[:, -1]) / 5,
            (context == 0).mean(axis=1),
            np.clip(size, -2, 2),
            np.log(np.clip(longer[1][:, 0], 0.03, 30)),
            np.clip(longer[0][:, 0] / 3, -3, 3),
            np.minimum(cuts / (MEMORY * shape.season), 1.0),
        ],
        axis=1,
    )
