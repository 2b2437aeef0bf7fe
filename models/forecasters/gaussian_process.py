"""Gaussian process: a season, a week and levels that last for weeks, days and hours, each as far as the data show it.

A few kernels (`models.forecasters.kernels`), learnt over all series of the panel in `fit`, stand side by side on two
scales; each series weighs them by how likely its past is under each. A forecast returns to the long level, and widens,
as fast as the series did. As a kernel depends on distances alone, a forecast is one product of matrices for all series.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.contracts import LEVELS, State
from models.dependence import Dependence
from models.forecasters.kernel_learning import learnt, scale_of, starts, variance
from models.forecasters.kernels import LONGEST, Setting, posterior
from models.forecasters.quantile_model import QuantileModel
from models.forecasters.scales import LARGEST, LEAST, OFFSETS, SCALES, Scaled, scaled, unscaled
from models.panel import Panel
from models.quantiles import tidy

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
SEASONS = 28
"""So much of the past is looked at."""

ROWS = 128
"""So many series at a time, so that what is computed stays in the processor's cache."""

JUDGED = 14
"""Kernels are weighed, and a series' own variance is measured, on so much of the past."""

TEMPER = 0.1
"""The power of a likelihood that decides: windows of real usage are far from as independent as the model says."""

PARTS = 3
"""The judged windows are whitened in so many parts, as half of a whole product would be with zeros."""

NORMAL: NDArray[np.float32] = np.array(
    [-1.281552, -0.841621, -0.524401, -0.253347, 0.0, 0.253347, 0.524401, 0.841621, 1.281552], dtype=np.float32
)
"""The normal distribution's quantiles at `LEVELS`."""


class GaussianProcess(QuantileModel):
    """Gaussian processes of all series at once; see the module's docstring."""

    name: ClassVar[str] = "gaussian-process"

    def __init__(self) -> None:
        super().__init__()
        self._settings = starts()

    def fit(self, panel: Panel, horizon: int) -> Self:
        """Learn the kernels, then the dependence of errors at the last origins; returns itself."""
        self._settings = learnt(panel.values, panel.season)
        return super().fit(panel, horizon)

    @torch.no_grad()
    def quantiles(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the next windows: (series, horizon, levels)."""
        past = panel.values[:, -min(SEASONS * panel.season, LONGEST) :]
        parts = [self._few(past[at : at + ROWS], panel.season, horizon) for at in range(0, len(past), ROWS)]
        return np.concatenate(parts) if parts else np.zeros((0, horizon, len(LEVELS)))

    def state(self) -> State:
        """The kernels and the dependence."""
        dependence = self._dependence
        document = {"level": dependence.level, "memory": dependence.memory, "common": dependence.common}
        shares, lengths = ([setting[part] for setting in self._settings] for part in (0, 1))
        return State(document, {"shares": np.array(shares), "lengths": np.array(lengths)})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The model that `state` described."""
        document: dict[str, Any] = dict(state.document)
        model = cls()
        model._dependence = Dependence(**document)
        pairs = zip(state.arrays["shares"].tolist(), state.arrays["lengths"].tolist(), strict=True)
        model._settings = tuple((tuple(one), tuple(other)) for one, other in pairs)
        return model

    def _few(self, past: Array, season: int, horizon: int) -> Array:
        """Quantiles (series, horizon, levels) after the past of some series."""
        if _kernels is not None:
            return _compiled(self._settings, past, season, horizon)
        parts = {name: scaled(past, name, season) for name in SCALES}
        found = [_one(parts[scale_of(place)], setting, season, horizon) for place, setting in enumerate(self._settings)]
        weights = _weights(np.stack([each[2] for each in found]))
        normal = torch.as_tensor(NORMAL)
        out = torch.zeros((len(past), horizon, len(LEVELS)), dtype=torch.float64)
        for place, name in enumerate(SCALES):
            mine = slice(place, None, len(SCALES))
            share = weights[mine].sum(axis=0)
            within = torch.as_tensor(weights[mine] / np.maximum(share, 1e-12), dtype=torch.float32)[:, :, None]
            middle = (within * torch.stack([each[0] for each in found[mine]])).sum(dim=0)
            spread = (within * torch.stack([each[1] for each in found[mine]])).sum(dim=0)
            around = unscaled(middle[:, :, None] + spread[:, :, None] * normal, parts[name], name)
            out += torch.as_tensor(share)[:, None, None] * around
        return _still(tidy(out.numpy()), past)


def _compiled(settings: tuple[Setting, ...], past: Array, season: int, horizon: int) -> Array:
    """What the rest of this file computes for some series, with compiled passes between its products."""
    width = past.shape[1]
    judged, given = min(width, JUDGED * season), np.ascontiguousarray(past)
    chances, sizes, means, told = [], [], [], []
    for place, name in enumerate(SCALES):
        values, facts = np.empty(past.shape, dtype=np.float32), np.empty((len(past), 4))
        _kernels.on_scale(given, values, facts, *past.shape, season, judged, OFFSETS[name], name == "log")
        maps = _maps(settings[place :: len(SCALES)], season, width, horizon, judged)
        known = torch.from_numpy(values)
        own = variance(_squares(known[:, width - judged :], maps), judged).numpy()
        chances.append(-0.5 * (judged * np.log(own) + maps.volumes) + facts[:, 2:3])
        sizes.append(np.sqrt(own).astype(np.float32))
        means.append((known @ maps.mean).numpy())
        told.append((maps.deviation, facts))
    weights = _weights(np.concatenate(chances, axis=1).T)
    out, first = np.zeros((len(past), horizon, len(LEVELS))), 0
    for size, mean, (deviation, facts), name in zip(sizes, means, told, SCALES, strict=True):
        mine = weights[first : first + size.shape[1]]
        first, share = first + len(mine), mine.sum(axis=0)
        within = np.ascontiguousarray((mine / np.maximum(share, 1e-12)).T, dtype=np.float32)
        shape = (len(past), len(mine), horizon)
        limits = (OFFSETS[name], LARGEST, LEAST, name == "log")
        _kernels.add_normal(mean, deviation, size, within, NORMAL, share, facts, out, *shape, *limits)
    still = np.flatnonzero(np.isfinite(facts[:, 3]))
    out = tidy(out)
    out[still] = facts[still, 3, None, None]
    return out


class _Maps(NamedTuple):
    """What kernels on one scale need: ``mean`` (width, kernels x horizon), and ``whitening`` in parts.

    A part whitens some of the judged windows under every kernel, (windows up to the last of them, kernels x some).
    """

    mean: Tensor
    deviation: NDArray[np.float32]
    whitening: tuple[Tensor, ...]
    volumes: Array


@lru_cache(maxsize=16)
def _maps(settings: tuple[Setting, ...], season: int, width: int, horizon: int, judged: int) -> _Maps:
    known = [posterior(setting, season, width, horizon, judged) for setting in settings]
    ends = [judged * part // PARTS for part in range(PARTS + 1)]
    # A window's independent step rests on those before it alone: the rest of its row is zero.
    whitening = tuple(
        torch.cat([each.whitening[first:last, :last] for each in known]).T.contiguous()
        for first, last in pairwise(ends)
    )
    deviation = np.stack([each.deviation.numpy() for each in known]).astype(np.float32)
    mean = torch.cat([each.mean for each in known]).T.contiguous()
    return _Maps(mean, deviation, whitening, np.array([each.volume for each in known]))


def _squares(judged: Tensor, maps: _Maps) -> Tensor:
    """Sums of squared independent steps of the judged windows under each kernel (series, kernels)."""
    kernels = len(maps.volumes)
    parts = [judged[:, : len(part)] @ part for part in maps.whitening]
    return torch.stack([part.reshape(len(part), kernels, -1).square().sum(dim=2) for part in parts]).sum(dim=0).double()


def _one(part: Scaled, setting: Setting, season: int, horizon: int) -> tuple[Tensor, Tensor, Array]:
    """Mean and deviation (series, horizon) by one kernel, and the likelihood (series,) of the past under it."""
    width = part.values.shape[1]
    judged = min(width, JUDGED * season)
    known = posterior(setting, season, width, horizon, judged)
    past = torch.as_tensor(part.values, dtype=torch.float32)
    steps = past[:, width - judged :] @ known.whitening.T
    own = variance((steps**2).sum(dim=1).double(), judged)
    deviation = own.sqrt()[:, None] * known.deviation[None, :]
    chance = -0.5 * judged * torch.log(own) - 0.5 * known.volume
    return past @ known.mean.T, deviation.float(), chance.numpy() + part.slopes[:, width - judged :].sum(axis=1)


def _weights(chances: Array) -> Array:
    """Weights (kernels, series) of tempered likelihoods (kernels, series)."""
    weights = np.exp(TEMPER * (chances - chances.max(axis=0)))
    return np.asarray(weights / weights.sum(axis=0), dtype=np.float64)


def _still(steps: Array, past: Array) -> Array:
    """Forecasts in which a series that has never moved stays exactly where it is."""
    low = np.nanmin(past, axis=1, initial=np.inf)
    high = np.nanmax(past, axis=1, initial=-np.inf)
    return np.where((low == high)[:, None, None], np.where(low == high, low, 0.0)[:, None, None], steps)
