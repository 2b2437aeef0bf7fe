"""Sample paths: futures drawn from quantiles of steps, whose errors hang together as `models.dependence` measured.

Compiled where that was possible; the twin in Python gives the same to nine digits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS
from models.dependence import Dependence
from models.quantiles import value_at

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
Noise = NDArray[np.float32]


class _Draws(NamedTuple):
    """Standard normal draws; ``place`` says which tenant a series is of."""

    place: NDArray[np.int64]
    own_level: Array
    tenant_level: Array
    own_noise: Noise
    tenant_noise: Noise


def sample_paths(steps: Array, dependence: Dependence, tenants: tuple[str, ...], count: int, seed: int) -> Array:
    """Futures (count, series, horizon) of quantiles (series, horizon, levels), of series of the given tenants.

    The value of every step by itself is distributed as its quantiles say; together they hang together as measured. The
    seed decides the draws. Every second path has the draws of the one before with the opposite sign (antithetic
    variates: Hammersley & Morton, 1956): half the draws, and means and medians that scatter less.
    """
    series, horizon = steps.shape[:2]
    if _kernels is None:
        return value_at(steps, sample_levels(dependence, tenants, horizon, count, seed))
    draws = _draws(tenants, horizon, count, seed)
    out = np.empty((count, series, horizon))
    given = np.ascontiguousarray(steps, dtype=np.float64)
    sizes = (count, series, draws.tenant_level.shape[1], horizon)
    numbers = (dependence.level, dependence.memory, dependence.common)
    _kernels.path_values(given, np.asarray(LEVELS), *draws, out, *sizes, *numbers)
    return out


def sample_levels(dependence: Dependence, tenants: tuple[str, ...], horizon: int, count: int, seed: int) -> Array:
    """Probability levels of shape (count, series, horizon), uniform one by one and dependent as estimated.

    They are those of `sample_paths`, in pairs.
    """
    from scipy.special import ndtr  # a quarter of a second that a server needs at its first forecast only

    draws = _draws(tenants, horizon, count, seed)
    share, rest = np.sqrt(dependence.common), np.sqrt(1 - dependence.common)
    z = rest * np.sqrt(1 - dependence.level) * _autoregression(draws.own_noise, dependence.memory)
    tenant_noise = _autoregression(draws.tenant_noise, dependence.memory)
    z += (share * np.sqrt(1 - dependence.level) * tenant_noise)[:, draws.place]
    z += np.sqrt(dependence.level) * (share * draws.tenant_level[:, draws.place] + rest * draws.own_level)[:, :, None]
    pairs = np.stack([z, -z], axis=1).reshape(-1, *z.shape[1:])[:count]
    return np.asarray(ndtr(pairs), dtype=np.float64)


def _autoregression(noise: Noise, memory: float) -> Array:
    by_step = np.ascontiguousarray(np.moveaxis(noise, 2, 0), dtype=np.float64)  # each step lies together
    scale = np.sqrt(1 - memory**2)
    for step in range(1, len(by_step)):
        by_step[step] *= scale
        by_step[step] += memory * by_step[step - 1]
    return np.ascontiguousarray(np.moveaxis(by_step, 0, 2))


def _draws(tenants: tuple[str, ...], horizon: int, count: int, seed: int) -> _Draws:
    random = np.random.default_rng(seed)
    names, place = np.unique(np.asarray(tenants, dtype=str), return_inverse=True)
    half = (count + 1) // 2
    own, shared = (half, len(tenants)), (half, len(names))
    return _Draws(
        place.astype(np.int64),
        random.standard_normal(own),
        random.standard_normal(shared),
        random.standard_normal((*own, horizon), dtype=np.float32),
        random.standard_normal((*shared, horizon), dtype=np.float32),
    )
