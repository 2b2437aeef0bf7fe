"""Sums of sample paths by themselves: how totals are distributed, with no path ever written down.

What one series' total may be does not depend on other series, so all share the same draws: a few hundred paths of
scores instead of as many for every series. The part of a path that persists, which decides most of a sum, is drawn in
equal strata, and each path has its mirror image. Compiled where that was possible; the twin in Python gives the same.
"""

from __future__ import annotations

from statistics import NormalDist

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


def path_sums(steps: Array, dependence: Dependence, still: Array, value: Array, count: int) -> Array:
    """Sums (series, count) over the horizon of paths whose steps have quantiles (series, horizon, levels).

    A path stands at ``value`` (series) for as long as its draw, the same at every step, is below the chance ``still``
    (series, horizon); from then on it follows the quantiles. ``count`` is even.
    """
    scores, waking = _scores(dependence, steps.shape[1], count), _strata(count, 1)
    if _kernels is None:
        return _path_sums(steps, scores, still, value, waking)
    out = np.empty((len(steps), count))
    given = (np.ascontiguousarray(part, dtype=np.float64) for part in (steps, still, value))
    _kernels.path_sums(*given, np.asarray(LEVELS), scores, waking, out, *steps.shape[:2], count)
    return out


def _path_sums(steps: Array, scores: Array, still: Array, value: Array, waking: Array) -> Array:
    """What the compiled function does."""
    from scipy.special import ndtr  # a quarter of a second that only a machine without a compiler needs

    levels = ndtr(scores)
    sums = np.empty((len(steps), len(scores)))
    for row, quantiles in enumerate(steps):
        paths = value_at(quantiles, levels)
        sums[row] = np.where(waking[:, None] < still[row], value[row], paths).sum(axis=1)
    return sums


def _scores(dependence: Dependence, horizon: int, count: int) -> Array:
    """Normal scores (count, horizon): a level in strata, and a stationary AR(1); every second path mirrors another."""
    half = count // 2
    normal = NormalDist()
    level = np.array([normal.inv_cdf(0.5 + 0.5 * share) for share in _strata(half, 0)])
    noise = np.random.default_rng([0, half, horizon]).standard_normal((horizon, half))
    for step in range(1, horizon):
        noise[step] *= np.sqrt(1 - dependence.memory**2)
        noise[step] += dependence.memory * noise[step - 1]
    z = np.sqrt(dependence.level) * level[:, None] + np.sqrt(1 - dependence.level) * noise.T
    return np.ascontiguousarray(np.stack([z, -z], axis=1)).reshape(count, horizon)


def _strata(count: int, seed: int) -> Array:
    """The middles of so many equal parts of 0 to 1, in an order drawn by a seed."""
    return (np.random.default_rng([1, seed]).permutation(count) + 0.5) / count
