"""Accuracy of forecasts: MASE, scaled pinball loss, WQL, coverage, and the error of the bill.

Hyndman & Koehler (2006), "Another look at measures of forecast accuracy"; the weighted quantile loss (WQL) is the
pinball loss over the sum of absolute actuals.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS, Forecast
from models.losses import pinball, seasonal_scale

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Lower is better, except ``coverage`` (share of actuals between P10 and P90), which should be 0.8."""

    mase: float
    scaled_pinball: float
    wql: float
    coverage: float
    bill_wape: float
    bill_wql: float
    bill_coverage: float

    def document(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StepAccuracy:
    """Figures of one window ahead (``step``, from 1), over series and origins."""

    step: int
    mase: float
    wql: float
    coverage: float

    def document(self) -> dict[str, float]:
        """The figures by name."""
        return {"mase": self.mase, "wql": self.wql, "coverage": self.coverage}


def accuracy(pasts: list[Array], actuals: list[Array], forecasts: list[Forecast], season: int) -> Accuracy:
    """Figures over all origins: pasts and actuals of shape (series, windows) and (series, horizon)."""
    actual, steps, scale = _cube(pasts, actuals, forecasts, season)
    totals = np.stack([forecast.totals for forecast in forecasts])
    middle = LEVELS.index(0.5)
    known = np.isfinite(actual)
    loss = np.where(known[..., None], pinball(np.nan_to_num(actual), steps), 0.0)
    error = np.where(known, np.abs(actual - steps[..., middle]), np.nan)
    inside = (actual >= steps[..., 0] - 1e-9) & (actual <= steps[..., -1] + 1e-9)
    bill = np.nan_to_num(actual).sum(axis=2)
    bill_loss = pinball(bill, totals)
    with np.errstate(all="ignore"):
        return Accuracy(
            mase=_mean(error / scale),
            scaled_pinball=_mean(np.where(known, loss.mean(axis=-1), np.nan) / scale),
            wql=float(loss.sum(axis=(0, 1, 2)).mean() / max(np.nansum(np.abs(actual)), 1e-12)),
            coverage=float(inside[known].mean()) if known.any() else float("nan"),
            bill_wape=float(np.abs(bill - totals[..., middle]).sum() / max(bill.sum(), 1e-12)),
            bill_wql=float(bill_loss.sum(axis=(0, 1)).mean() / max(bill.sum(), 1e-12)),
            bill_coverage=float(((bill >= totals[..., 0] - 1e-9) & (bill <= totals[..., -1] + 1e-9)).mean()),
        )


def accuracy_by_step(
    pasts: list[Array], actuals: list[Array], forecasts: list[Forecast], season: int
) -> tuple[StepAccuracy, ...]:
    """Figures of every window ahead; arguments as of `accuracy`."""
    actual, steps, scale = _cube(pasts, actuals, forecasts, season)
    known = np.isfinite(actual)
    loss = np.where(known, pinball(np.nan_to_num(actual), steps).mean(axis=-1), 0.0).sum(axis=(0, 1))
    size = np.where(known, np.abs(actual), 0.0).sum(axis=(0, 1))
    scaled = np.where(known, np.abs(actual - steps[..., LEVELS.index(0.5)]), np.nan) / scale
    inside = np.where(known, (actual >= steps[..., 0] - 1e-9) & (actual <= steps[..., -1] + 1e-9), False)
    count = np.maximum(known.sum(axis=(0, 1)), 1)
    return tuple(
        StepAccuracy(
            step + 1,
            _mean(scaled[..., step]),
            float(loss[step] / max(size[step], 1e-12)),
            float(inside[..., step].sum() / count[step]),
        )
        for step in range(steps.shape[2])
    )


def accuracy_by_series(
    pasts: list[Array], actuals: list[Array], forecasts: list[Forecast], season: int
) -> dict[str, list[float | None]]:
    """Figures of every series over all origins, by name; None where one does not exist (nothing known, no scale)."""
    actual, steps, scale = _cube(pasts, actuals, forecasts, season)
    known = np.isfinite(actual)
    loss = np.where(known, pinball(np.nan_to_num(actual), steps).mean(axis=-1), 0.0)
    inside = np.where(known, (actual >= steps[..., 0] - 1e-9) & (actual <= steps[..., -1] + 1e-9), False)
    middle = np.stack([forecast.totals[:, LEVELS.index(0.5)] for forecast in forecasts])
    with np.errstate(all="ignore"):
        count = known.sum(axis=(0, 2))
        columns = {
            "scaled_pinball": np.nansum(loss / scale, axis=(0, 2)) / (known & np.isfinite(scale)).sum(axis=(0, 2)),
            "wql": loss.sum(axis=(0, 2)) / np.nansum(np.abs(actual), axis=(0, 2)),
            "coverage": inside.sum(axis=(0, 2)) / count,
            "actual": np.nansum(actual, axis=(0, 2)),
            "forecast": middle.sum(axis=0),
        }
    return {name: [float(one) if np.isfinite(one) else None for one in values] for name, values in columns.items()}


def _cube(
    pasts: list[Array], actuals: list[Array], forecasts: list[Forecast], season: int
) -> tuple[Array, Array, Array]:
    """Actuals (origins, series, horizon), quantiles (..., levels) and scales (origins, series, 1)."""
    scale = np.stack([seasonal_scale(past, season) for past in pasts])[:, :, None]
    return np.stack(actuals), np.stack([forecast.steps for forecast in forecasts]), scale


def _mean(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
