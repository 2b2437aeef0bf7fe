"""Mixing forecasts: weights by recent losses ("Hedge"), and the mixture of distributions they stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.contracts import LEVELS

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
Index = NDArray[np.int64]
WORST = 5.0
"""A member's relative loss counts no higher, or one wild series would decide for all."""

LEAST = 0.03
"""A smaller weight counts as none, or an idle series would be billed for one member's doubts."""

MOST = 4
"""So many members at most, the heaviest, are mixed for a series."""


@dataclass(frozen=True, slots=True)
class Judging:
    """How members are judged for one kind of series.

    ``rate`` is how fast a weight falls with the relative loss, ``own_share`` how much of that loss is the series' own
    (the rest is that of all series of the kind), ``priors`` are members' weights before any loss, 1 where not given.
    """

    rate: float
    own_share: float
    priors: Mapping[str, float]


STEADY = Judging(8.0, 0.85, {"lstm": 3.0})
"""For all series that do not switch between two levels."""

SWITCHING = Judging(16.0, 0.5, {"lstm": 3.0, "markov": 3.0})
"""For those that do (`models.switching`): they are alike, so less is each series' own and losses count for more."""

ALONE = Judging(8.0, 1.0, STEADY.priors)
"""For a series of which no others are known."""


def with_losses(sums: Array, quantiles: Array, actual: Array) -> Array:
    """Sums (series) and, added window by window, the pinball losses of quantiles (series, horizon, levels).

    A loss is the mean over levels; what is missing in ``actual`` (series, horizon) adds nothing. Sums that go on later
    come to the same bit for bit.
    """
    out, levels, known = np.array(sums, dtype=np.float64), np.asarray(LEVELS), np.isfinite(actual)
    if _kernels is None:
        error = np.where(known, actual, 0.0)[:, :, None] - quantiles
        loss = np.maximum(levels * error, (levels - 1) * error).mean(axis=-1)
        for window in np.where(known, loss, 0.0).T:
            out += window
        return out
    given = np.ascontiguousarray(quantiles, dtype=np.float64), np.ascontiguousarray(actual, dtype=np.float64)
    _kernels.pinball_sums(*given, levels, out, *actual.shape)
    return out


def hedge(found: Array, names: Sequence[str], judging: Judging) -> Array:
    """Weights (series, members) from summed losses and, last, how many windows they are of (series, members + 1).

    The exponentially weighted average forecaster (Freund & Schapire, 1997): a member's prior times
    exp(-rate x loss), the loss relative to that of all members, of the series itself shrunk to that of all.
    """
    priors = np.array([judging.priors.get(name, 1.0) for name in names])
    own = found[:, :-1] / np.maximum(found[:, -1:], 1)
    scale = (own * priors).sum(axis=1, keepdims=True) / priors.sum()
    relative = np.divide(own, scale, out=np.ones_like(own), where=scale > 0)
    relative = np.minimum(relative, WORST)
    shrunk = judging.own_share * relative + (1 - judging.own_share) * relative.mean(axis=0, keepdims=True)
    weights = priors * np.exp(-judging.rate * (shrunk - shrunk.min(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    weights[weights < LEAST] = 0.0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


def weights_by_kind(found: Array, names: Sequence[str], switches: NDArray[np.bool_]) -> Array:
    """Weights as `hedge` gives them, of series that switch between two levels (series,) and of all others."""
    out = np.empty((len(found), len(names)))
    for mine, judging in ((switches, SWITCHING), (~switches, STEADY)):
        if mine.any():
            out[mine] = hedge(found[mine], names, judging)
    return out


def heaviest(weights: Array) -> tuple[Index, Array]:
    """Which members are mixed for each series (series, at most `MOST`), the heaviest first, and their weights."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, : min(MOST, weights.shape[1])]
    weight = np.take_along_axis(weights, order, axis=1)
    used = max(1, int((weight > 0).sum(axis=1).max(initial=1)))
    order, weight = order[:, :used], weight[:, :used]
    return order, np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)


def mixture(parts: Sequence[Array], places: Index, weights: Array, horizon: int) -> Array:
    """Quantiles (series, horizon, levels) of mixtures of forecasts.

    ``parts`` are forecasts (rows, horizon, levels) of one member each; ``places`` (series, members, 2) say of which
    part and which of its rows a series' member is. Each quantile stands for an equal share of its member's weight
    (series, members); the shares are put in order and read off. Unlike an average of quantiles, a mixture of "off" and
    "on" stays off or on and is never half on. Where there is no weight, nothing is looked at.
    """
    series, members = weights.shape
    if _kernels is None:
        return _mixture(_gathered(parts, places, weights, horizon), weights)
    out = np.empty((series, horizon, len(LEVELS)))
    points = tuple(np.ascontiguousarray(part, dtype=np.float64) for part in parts)
    given = np.ascontiguousarray(places), np.ascontiguousarray(weights, dtype=np.float64)
    _kernels.mixture(points, *given, out, series, members, horizon, len(LEVELS))
    return out


def _gathered(parts: Sequence[Array], places: Index, weights: Array, horizon: int) -> Array:
    """The forecasts side by side (series, members, horizon, levels), NaN where a member has no weight."""
    out = np.full((*weights.shape, horizon, len(LEVELS)), np.nan)
    for number, part in enumerate(parts):
        mine = (places[:, :, 0] == number) & (weights > 0)
        out[mine] = part[places[mine][:, 1]]
    return out


def _mixture(forecasts: Array, weights: Array) -> Array:
    """What the compiled function does, of forecasts (series, members, horizon, levels)."""
    series, members, horizon, levels = forecasts.shape
    silent = (weights == 0)[:, :, None, None]
    # Points without mass lie behind all others, at the largest: there nothing is read off.
    largest = torch.as_tensor(np.where(silent, -np.inf, forecasts).max(axis=(1, 3)))[:, :, None]
    picked = torch.as_tensor(np.where(silent, np.inf, forecasts), dtype=torch.float64)
    points, place = picked.permute(0, 2, 1, 3).reshape(series, horizon, members * levels).sort(dim=2, stable=True)
    points = torch.minimum(points, largest)
    share = torch.as_tensor(np.repeat(weights / levels, levels, axis=1))
    mass = share[:, None, :].expand(-1, horizon, -1).gather(2, place)
    middle = mass.cumsum(dim=2) - mass / 2
    wanted = ((torch.arange(levels, dtype=torch.float64) + 0.5) / levels).expand(series, horizon, -1).contiguous()
    above = torch.searchsorted(middle, wanted).clamp(1, members * levels - 1)
    low, high = points.gather(2, above - 1), points.gather(2, above)
    before, after = middle.gather(2, above - 1), middle.gather(2, above)
    part = ((wanted - before) / (after - before).clamp(min=1e-12)).clamp(0, 1)
    mixed = np.asarray((low + part * (high - low)).numpy(), dtype=np.float64)
    alone = (weights > 0).sum(axis=1) == 1
    mixed[alone] = forecasts[alone, weights[alone].argmax(axis=1)]
    return mixed
