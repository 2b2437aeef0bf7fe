"""Examples for the LSTM: pieces of a panel, each normalised by its own level and scale, and what is known ahead."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.forecasters.lstm_network import STEP_FEATURES
from models.panel import Panel

Array = NDArray[np.float64]
WEEK_NS = 7 * 86_400 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of an example, in windows; ``context`` is a multiple of ``patch``."""

    context: int
    horizon: int
    patch: int
    season: int


@dataclass(frozen=True, slots=True)
class Examples:
    """Normalised inputs, targets and weights, and the level and scale (batch, 1) that undo the normalisation."""

    context: Tensor
    steps: Tensor
    target: Tensor
    weight: Tensor
    level: Array
    scale: Array


def examples(panel: Panel, rows: NDArray[np.int64], cuts: NDArray[np.int64], shape: Shape) -> Examples:
    """Examples of the given series, each seen up to its own cut; targets are the windows from the cut on.

    Nothing from a cut on enters the context, the level, the scale or the steps.
    """
    offsets = cuts[:, None] - shape.context + np.arange(shape.context)[None, :]
    inside = offsets >= 0
    context = np.where(inside, panel.values[rows[:, None], np.maximum(offsets, 0)], np.nan)
    level, scale = _normaliser(context)
    filled = np.where(np.isfinite(context), (context - level) / scale, 0.0)
    ahead = cuts[:, None] + np.arange(shape.horizon)[None, :]
    exists = ahead < panel.windows
    target = np.where(exists, panel.values[rows[:, None], np.minimum(ahead, panel.windows - 1)], np.nan)
    weight = np.isfinite(target)
    target = np.where(weight, (target - level) / scale, 0.0)
    steps = _steps(filled, inside, cuts, panel, shape)
    tensors = [
        torch.as_tensor(part, dtype=torch.float32)
        for part in (np.clip(filled, -20, 20), np.clip(steps, -20, 20), np.clip(target, -20, 20), weight)
    ]
    return Examples(tensors[0], tensors[1], tensors[2], tensors[3], level, scale)


def _normaliser(context: Array) -> tuple[Array, Array]:
    """Mean and spread of each context (batch, 1); the spread never falls below a hundredth of the size."""
    known = np.isfinite(context)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    filled = np.where(known, context, 0.0)
    level = filled.sum(axis=1, keepdims=True) / count
    spread = np.sqrt((np.where(known, context - level, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
    return level, np.maximum(spread, np.maximum(0.01 * np.abs(level), 1e-9))


def _steps(context: Array, inside: NDArray[np.bool_], cuts: NDArray[np.int64], panel: Panel, shape: Shape) -> Array:
    """What is known of the steps to come: (batch, horizon, STEP_FEATURES)."""
    batch, season, width = len(context), min(shape.season, shape.context), shape.context
    seasons = width // season
    recent = context[:, width - seasons * season :].reshape(batch, seasons, season)
    place = np.arange(shape.horizon) % season
    index = panel.start_ns // panel.window_ns + cuts[:, None] + np.arange(shape.horizon)[None, :]
    phase = 2 * np.pi * (index % shape.season) / shape.season
    week = 2 * np.pi * ((index * panel.window_ns) % WEEK_NS) / WEEK_NS
    out = np.empty((batch, shape.horizon, STEP_FEATURES))
    out[:, :, 0] = recent[:, -1, place]
    out[:, :, 1] = recent.mean(axis=1)[:, place]
    for column, angle in ((2, phase), (4, week)):
        out[:, :, column], out[:, :, column + 1] = np.sin(angle), np.cos(angle)
    out[:, :, 6] = np.log1p(np.arange(shape.horizon))[None, :] / 5
    out[:, :, 7] = inside.mean(axis=1)[:, None]
    return out
