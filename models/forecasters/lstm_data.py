"""Examples for the LSTM: pieces of a panel, each normalised by its own level and scale, and what is known ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.forecasters.lstm_candidates import candidates
from models.forecasters.lstm_network import CANDIDATES, STEP_FEATURES
from models.forecasters.markov_states import standing
from models.labels import codes
from models.panel import Panel

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
WEEK_NS = 7 * 86_400 * 1_000_000_000
MEMORY = 28
"""So many seasons before a cut are looked at for what the context is too short for."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of an example, in windows; ``context`` is a multiple of ``patch``.

    ``labels`` are the operations, micro-operation types and resources that the network tells apart, ``planned`` is 1
    where it is told of planned events, else 0.
    """

    context: int
    horizon: int
    patch: int
    season: int
    labels: tuple[tuple[str, ...], ...] = ()
    planned: int = 0


class Seen(NamedTuple):
    """Normalised inputs of a network, and the level and scale (batch, 1) that undo the normalisation."""

    context: Tensor
    steps: Tensor
    traits: Tensor
    codes: Tensor
    level: Array
    scale: Array

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the network takes."""
        return self.context, self.steps, self.traits, self.codes


class Examples(NamedTuple):
    """What is seen, and normalised targets with weights (batch, horizon)."""

    seen: Seen
    target: Tensor
    weight: Tensor


class _Normal(NamedTuple):
    """A past on its own scale (batch, width), the context as the network takes it, and facts (batch,) of each series.

    ``known`` and ``zero`` are shares of the context, ``still`` is how many windows it has stood still, ``mean`` and
    ``spread`` are of the whole past, on its scale.
    """

    past: Array
    context: NDArray[np.float32]
    level: Array
    scale: Array
    known: Array
    zero: Array
    still: Array
    mean: Array
    spread: Array


def examples(panel: Panel, rows: Index, cuts: Index, shape: Shape) -> Examples:
    """Examples of the given series, each seen up to its own cut; targets are the windows from the cut on."""
    known = seen(panel, rows, cuts, shape)
    ahead = cuts[:, None] + np.arange(shape.horizon)[None, :]
    exists = ahead < panel.windows
    target = np.where(exists, panel.values[rows[:, None], np.minimum(ahead, panel.windows - 1)], np.nan)
    weight = np.isfinite(target)
    target = np.clip(np.where(weight, (target - known.level) / known.scale, 0.0), -20, 20)
    return Examples(known, *(torch.as_tensor(part, dtype=torch.float32) for part in (target, weight)))


def seen(panel: Panel, rows: Index, cuts: Index, shape: Shape) -> Seen:
    """What the network is told of the given series, each up to its own cut.

    Nothing from a cut on enters the context, the level, the scale, the traits or the steps but planned events.
    """
    normal = _normalised(_before(panel, rows, cuts, max(shape.context, MEMORY * shape.season)), shape.context)
    steps, traits = _steps(normal.past, rows, cuts, panel, shape), _traits(normal, cuts, shape)
    labels = torch.as_tensor(codes(panel, rows, shape.labels))
    given = (torch.as_tensor(normal.context), torch.as_tensor(steps), torch.as_tensor(traits, dtype=torch.float32))
    return Seen(*given, labels, normal.level[:, None], normal.scale[:, None])


def _before(panel: Panel, rows: Index, cuts: Index, width: int) -> Array:
    """The ``width`` windows before each cut (batch, width), NaN before the panel's first."""
    if len(cuts) and (cuts == cuts[0]).all():
        first, cut = max(0, int(cuts[0]) - width), int(cuts[0])
        out = np.full((len(rows), width), np.nan)
        out[:, width - cut + first :] = panel.values[rows, first:cut]
        return out
    place = cuts[:, None] - width + np.arange(width)[None, :]
    return np.where(place >= 0, panel.values[rows[:, None], np.maximum(place, 0)], np.nan)


def _normalised(past: Array, context: int) -> _Normal:
    """A past (batch, width), which is overwritten, by the mean and spread of its last ``context`` windows.

    The spread never falls below a hundredth of the level, nor below a tenth of that of the longer past: a series that
    has stood still for a week still has the scale of what it did before.
    """
    if _kernels is None:
        return _normal(past, context)
    seen = np.empty((len(past), context, 2), dtype=np.float32)
    facts = np.empty((len(past), 7))
    _kernels.normalised(past, seen, facts, *past.shape, context)
    return _Normal(past, seen, *facts.T)


def _normal(past: Array, context: int) -> _Normal:
    """What the compiled function does."""
    near = past[:, -context:]
    level, spread = _moments(near)
    scale = np.maximum(np.maximum(spread, 0.1 * _moments(past)[1]), np.maximum(0.01 * np.abs(level), 1e-9))
    known, zero = np.isfinite(near), (near == 0).mean(axis=1)
    past = np.clip((past - level[:, None]) / scale[:, None], -50, 50)
    values = np.clip(np.where(known, past[:, -context:], 0.0), -20, 20)
    seen = np.stack([values, known], axis=2, dtype=np.float32)
    still = standing(past)[:, -1].astype(np.float64)
    return _Normal(past, seen, level, scale, known.mean(axis=1), zero, still, *_moments(past))


def _moments(values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (batch,) of what is known; 0 where nothing is."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=1), 1)
    mean = np.where(known, values, 0.0).sum(axis=1) / count
    return mean, np.sqrt((np.where(known, values - mean[:, None], 0.0) ** 2).sum(axis=1) / count)


def _steps(past: Array, rows: Index, cuts: Index, panel: Panel, shape: Shape) -> NDArray[np.float32]:
    """What is known of the steps to come: (batch, horizon, CANDIDATES + STEP_FEATURES + planned)."""
    first = CANDIDATES + 1
    out = candidates(past, shape.context, shape.season, shape.horizon, CANDIDATES + STEP_FEATURES + shape.planned)
    # What the calendar says is the same for all that are cut at the same window.
    told = cuts[:1] if (cuts == cuts[:1]).all() else cuts
    out[:, :, first : first + STEP_FEATURES - 1] = _calendar(panel, told, shape)
    if shape.planned:
        out[:, :, -1] = 0.0
        if panel.planned is not None:
            times = panel.start_ns + (cuts[:, None] + np.arange(shape.horizon)[None, :]) * panel.window_ns
            out[:, :, -1] = panel.planned.shares(rows, times[:, 0], times, panel.window_ns)
    return out


def _calendar(panel: Panel, cuts: Index, shape: Shape) -> Array:
    """Phase, week and how far ahead of the steps after each cut: (cuts, horizon, STEP_FEATURES - 1)."""
    index = panel.start_ns // panel.window_ns + cuts[:, None] + np.arange(shape.horizon)[None, :]
    phase = 2 * np.pi * (index % shape.season) / shape.season
    week = 2 * np.pi * ((index * panel.window_ns) % WEEK_NS) / WEEK_NS
    far = np.broadcast_to(np.log1p(np.arange(shape.horizon)) / 5, phase.shape)
    return np.stack([np.sin(phase), np.cos(phase), np.sin(week), np.cos(week), far], axis=2)


def _traits(normal: _Normal, cuts: Index, shape: Shape) -> Array:
    """What holds for a whole example (batch, TRAITS): how much is known, how long it stands still, how idle it is."""
    size = np.log(np.abs(normal.level) / normal.scale + 1e-3) / 3
    return np.stack(
        [
            np.minimum(cuts / shape.context, 1.0),
            normal.known,
            np.log1p(normal.still) / 5,
            normal.zero,
            np.clip(size, -2, 2),
            np.log(np.clip(normal.spread, 0.03, 30)),
            np.clip(normal.mean / 3, -3, 3),
            np.minimum(cuts / (MEMORY * shape.season), 1.0),
        ],
        axis=1,
    )
