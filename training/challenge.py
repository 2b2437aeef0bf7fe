"""Champion and challenger on the same windows: the challenger must be better by more than the luck of the series.

Paired bootstrap (Efron & Tibshirani, 1993): series are drawn with replacement, the same ones for both models, and the
share of draws in which the challenger is better is how sure its lead is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS, Forecast
from models.losses import pinball, seasonal_scale
from models.panel import Panel

Array = NDArray[np.float64]
DRAWS = 2000
FEWEST_SERIES = 5
"""With fewer series, series and origin together are what is drawn."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """Both models' figure, lower is better, and how sure it is that the challenger's is lower (0 to 1)."""

    metric: str
    champion: float
    challenger: float
    certainty: float


def challenge(
    panel: Panel,
    cuts: Sequence[int],
    champion: Sequence[Forecast],
    challenger: Sequence[Forecast],
    metric: str,
    seed: int = 0,
) -> Challenge:
    """Compare forecasts made from the same cuts; raises ValueError for a metric that does not divide by series."""
    old, weight = shares(panel, cuts, champion, metric)
    new, _ = shares(panel, cuts, challenger, metric)
    if len(panel.series) >= FEWEST_SERIES:
        old, new, weight = old.sum(axis=0), new.sum(axis=0), weight.sum(axis=0)
    old, new, weight = old.ravel(), new.ravel(), weight.ravel()
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(weight), (DRAWS, len(weight)))
    with np.errstate(all="ignore"):
        before, after = old.sum() / weight.sum(), new.sum() / weight.sum()
        lead = (old[drawn] - new[drawn]).sum(axis=1)
    return Challenge(metric, float(before), float(after), float((lead > 0).mean()))


def shares(panel: Panel, cuts: Sequence[int], forecasts: Sequence[Forecast], metric: str) -> tuple[Array, Array]:
    """What every (origin, series) adds to the metric's numerator and denominator, each (origins, series)."""
    parts = [_share(panel, cut, forecast, metric) for cut, forecast in zip(cuts, forecasts, strict=True)]
    return np.stack([part[0] for part in parts]), np.stack([part[1] for part in parts])


def _share(panel: Panel, cut: int, forecast: Forecast, metric: str) -> tuple[Array, Array]:
    actual = panel.values[:, cut : cut + forecast.steps.shape[1]]
    known = np.isfinite(actual)
    filled = np.where(known, actual, 0.0)
    middle = LEVELS.index(0.5)
    if metric == "wql":
        loss = np.where(known, pinball(filled, forecast.steps).mean(axis=-1), 0.0)
        return loss.sum(axis=1), np.abs(filled).sum(axis=1)
    if metric == "bill_wape":
        bill = np.where(known.all(axis=1), filled.sum(axis=1), 0.0)
        error = np.abs(bill - forecast.totals[:, middle])
        return np.where(known.all(axis=1), error, 0.0), bill
    if metric == "mase":
        scale = seasonal_scale(panel.values[:, :cut], panel.season)[:, None]
        counted = known & np.isfinite(scale)
        error = np.where(counted, np.abs(filled - forecast.steps[..., middle]) / np.where(counted, scale, 1.0), 0.0)
        return error.sum(axis=1), counted.sum(axis=1).astype(np.float64)
    raise ValueError(f"{metric!r} is no metric to compare champions by; use wql, mase or bill_wape")
