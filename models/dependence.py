"""How forecast errors hang together: a level that stays, a short memory, and a factor common to a tenant.

The normal score of an error at step h of series i of tenant j is modelled as

    z = sqrt(level) (sqrt(common) a_j + sqrt(1 - common) b_i)
      + sqrt(1 - level) (sqrt(common) u_jh + sqrt(1 - common) v_ih)

with a, b standard normal and u, v stationary AR(1) with coefficient ``memory``. Its correlation at lag k is
level + (1 - level) memory^k within a series and ``common`` times that between series of one tenant, so the three
numbers follow from averages of products of scores (method of moments).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dependence:
    """``level`` is the share that persists, ``common`` the tenant's, ``memory`` the AR coefficient; all in [0, 1)."""

    level: float = 0.3
    memory: float = 0.4
    common: float = 0.1


def scores(actual: Array, steps: Array) -> Array:
    """Normal scores of actual values (...,) among quantiles (..., L) at `models.contracts.LEVELS`; NaN where missing.

    A value that ties with several quantiles, as zero does in idle series, gets the middle of their levels.
    """
    from scipy.special import ndtri  # a quarter of a second that a server needs at its first forecast only

    below = (steps < actual[..., None]).mean(axis=-1)
    upto = (steps <= actual[..., None]).mean(axis=-1)
    count = len(LEVELS)
    probability = (0.5 * (below + upto) * count + 0.5) / (count + 1)
    return np.where(np.isfinite(actual), ndtri(probability), np.nan)


def estimate(z: Array, tenants: tuple[str, ...]) -> Dependence:
    """The dependence of normal scores z of shape (origins, series, horizon).

    Too few scores leave the values of `Dependence` as they are: they act as a prior worth 200 products.
    """
    z = np.where(np.isfinite(z), z, 0.0)
    variance = float((z**2).mean()) or 1.0
    horizon = z.shape[2]
    prior, weight = Dependence(), 200.0
    far, near = max(1, horizon // 2), 1
    level = _shrunk(_lagged(z, far), prior.level * variance, weight) / variance
    level = float(np.clip(level, 0.0, 0.95))
    first = _shrunk(_lagged(z, near), (prior.level + (1 - prior.level) * prior.memory) * variance, weight) / variance
    memory = float(np.clip((first - level) / (1 - level), 0.0, 0.95))
    common = _shrunk(_between(z, tenants), prior.common * variance, weight) / variance
    return Dependence(level, memory, float(np.clip(common, 0.0, 0.9)))


def total_quantiles(steps: Array, dependence: Dependence) -> Array:
    """Quantiles of the sum over the horizon, (series, levels), of steps (series, horizon, levels); no sampling.

    Were all steps at the same level at once, the quantiles of the sum would be the sums of the quantiles. Their
    distances from the mean shrink by the ratio of the standard deviation under the dependence to that upper bound.
    """
    if _kernels is None:
        return _total_quantiles(steps, dependence)
    out = np.empty((len(steps), steps.shape[2]))
    given = np.ascontiguousarray(steps, dtype=np.float64)
    _kernels.total_quantiles(given, out, *steps.shape, dependence.level, dependence.memory)
    return out


def _total_quantiles(steps: Array, dependence: Dependence) -> Array:
    """What the compiled function does."""
    together = steps.sum(axis=1)
    spread = steps.std(axis=2)
    upper = spread.sum(axis=1)
    carried, near = np.zeros(len(steps)), (spread**2).sum(axis=1)
    for step in range(1, steps.shape[1]):
        carried = dependence.memory * (carried + spread[:, step - 1])
        near = near + 2 * carried * spread[:, step]
    deviation = np.sqrt(dependence.level * upper**2 + (1 - dependence.level) * near)
    ratio = np.divide(deviation, upper, out=np.ones_like(upper), where=upper > 0)
    shape = together - together[:, len(LEVELS) // 2 : len(LEVELS) // 2 + 1]
    # The median of a sum of many steps lies near the sum of their means, not of their medians.
    return np.asarray(np.maximum(together.mean(axis=1)[:, None] + ratio[:, None] * shape, 0.0), dtype=np.float64)


def _lagged(z: Array, lag: int) -> tuple[float, int]:
    """Mean product of scores ``lag`` steps apart, and how many."""
    if z.shape[2] <= lag:
        return 0.0, 0
    products = z[:, :, lag:] * z[:, :, :-lag]
    return float(products.mean()), products.size


def _between(z: Array, tenants: tuple[str, ...]) -> tuple[float, int]:
    """Mean product of scores of different series of one tenant at the same step, and how many."""
    total, pairs = 0.0, 0
    for tenant in set(tenants):
        rows = [row for row, name in enumerate(tenants) if name == tenant]
        part = z[:, rows, :]
        own = (part**2).sum(axis=1)
        total += float((part.sum(axis=1) ** 2 - own).sum())
        pairs += len(rows) * (len(rows) - 1) * own.size
    return (total / pairs if pairs else 0.0), pairs


def _shrunk(found: tuple[float, int], prior: float, weight: float) -> float:
    mean, count = found
    return (mean * count + prior * weight) / (count + weight)
