"""Accuracy of forecasts: MASE, scaled pinball loss, WQL, coverage, and the error of the bill.

Hyndman & Koehler (2006), "Another look at measures of forecast accuracy"; the weighted quantile loss (WQL) is the
pinball loss over the sum of absolute actuals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS, Forecast
from models.losses import pinball, seasonal_scale

Array = NDArray[np.float64]
SERIES_AT_ONCE = 2048
"""So many series of one origin are looked at together: all of tens of thousands would take gigabytes."""

_MIDDLE = LEVELS.index(0.5)


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


@dataclass(frozen=True, slots=True)
class _Piece:
    """Some series of one origin: actuals, whether they are known, and losses, each (series, horizon).

    ``loss`` is the mean over levels, ``error`` that of the median; both are 0 and ``inside`` is False where nothing is
    known. ``scale`` is (series, 1), ``totals`` (series, levels).
    """

    rows: slice
    actual: Array
    known: NDArray[np.bool_]
    loss: Array
    error: Array
    inside: NDArray[np.bool_]
    scale: Array
    totals: Array

    @property
    def whole(self) -> NDArray[np.bool_]:
        """Series (series,) of which every window is known: of others nobody knows the bill."""
        return np.asarray(self.known.all(axis=1))

    @property
    def scaled(self) -> NDArray[np.bool_]:
        """What is known of series with a scale."""
        return self.known & np.isfinite(self.scale)


def accuracy(pasts: Sequence[Array], actuals: Sequence[Array], forecasts: Sequence[Forecast], season: int) -> Accuracy:
    """Figures over all origins: pasts and actuals of shape (series, windows) and (series, horizon).

    Bills count where every window of the horizon is known; NaN stands for a figure that does not exist.
    """
    sums = np.sum([_sums(piece) for piece in _pieces(pasts, actuals, forecasts, season)], axis=0)
    known, scaled, scaled_error, scaled_loss, size, loss, inside, bills, bill, bill_error, bill_loss, bill_inside = sums
    return Accuracy(
        mase=_ratio(scaled_error, scaled),
        scaled_pinball=_ratio(scaled_loss, scaled),
        wql=loss / max(size, 1e-12),
        coverage=_ratio(inside, known),
        bill_wape=bill_error / max(bill, 1e-12) if bills else float("nan"),
        bill_wql=bill_loss / max(bill, 1e-12) if bills else float("nan"),
        bill_coverage=_ratio(bill_inside, bills),
    )


def _sums(piece: _Piece) -> Array:
    """Numerators and denominators, in the order in which `accuracy` takes them."""
    scale = np.where(piece.scaled, piece.scale, np.inf)
    bill, totals = piece.actual[piece.whole].sum(axis=1), piece.totals[piece.whole]
    return np.array(
        [
            piece.known.sum(),
            piece.scaled.sum(),
            (piece.error / scale).sum(),
            (piece.loss / scale).sum(),
            np.abs(piece.actual).sum(),
            piece.loss.sum(),
            piece.inside.sum(),
            len(bill),
            bill.sum(),
            np.abs(bill - totals[:, _MIDDLE]).sum(),
            pinball(bill, totals).mean(axis=-1).sum(),
            ((bill >= totals[:, 0] - 1e-9) & (bill <= totals[:, -1] + 1e-9)).sum(),
        ]
    )


def accuracy_by_step(
    pasts: Sequence[Array], actuals: Sequence[Array], forecasts: Sequence[Forecast], season: int
) -> tuple[StepAccuracy, ...]:
    """Figures of every window ahead; arguments as of `accuracy`."""
    sums = np.zeros((6, forecasts[0].steps.shape[1]))
    for piece in _pieces(pasts, actuals, forecasts, season):
        error = piece.error / np.where(piece.scaled, piece.scale, np.inf)
        parts = (error, piece.scaled, piece.loss, np.abs(piece.actual), piece.inside, piece.known)
        sums += [part.sum(axis=0) for part in parts]
    return tuple(
        StepAccuracy(step + 1, _ratio(error, scaled), float(loss / max(size, 1e-12)), float(inside / max(known, 1)))
        for step, (error, scaled, loss, size, inside, known) in enumerate(sums.T)
    )


def accuracy_by_series(
    pasts: Sequence[Array], actuals: Sequence[Array], forecasts: Sequence[Forecast], season: int
) -> dict[str, list[float | None]]:
    """Figures of every series over all origins, by name; None where one does not exist (nothing known, no scale)."""
    sums = np.zeros((8, len(actuals[0])))
    for piece in _pieces(pasts, actuals, forecasts, season):
        scaled = piece.loss / np.where(piece.scaled, piece.scale, np.inf)
        parts = (scaled, piece.scaled, piece.loss, np.abs(piece.actual), piece.inside, piece.known, piece.actual)
        sums[:7, piece.rows] += [part.sum(axis=1) for part in parts]
        sums[7, piece.rows] += piece.totals[:, _MIDDLE]
    scaled, scales, loss, size, inside, known, actual, forecast = sums
    with np.errstate(all="ignore"):
        columns = {
            "scaled_pinball": scaled / scales,
            "wql": loss / size,
            "coverage": inside / known,
            "actual": actual,
            "forecast": forecast,
        }
    return {name: [float(one) if np.isfinite(one) else None for one in values] for name, values in columns.items()}


def calibration(actuals: Sequence[Array], quantiles: Sequence[Array]) -> Array:
    """Share of actuals (...,) at or below each quantile (..., levels); missing ones (NaN) do not count.

    Quantiles that coincide, as those of a service that is mostly off, say less: an actual that equals them lies
    anywhere in the part of the distribution that they stand for, and counts in part (Czado, Gneiting & Held, 2009,
    "Predictive model assessment for count data").
    """
    levels = np.asarray(LEVELS)
    share, count = np.zeros(len(levels)), 0
    for actual, steps in zip(actuals, quantiles, strict=True):
        for first in range(0, len(actual), SERIES_AT_ONCE):
            rows = slice(first, first + SERIES_AT_ONCE)
            known = np.isfinite(actual[rows])
            low, high = _part(actual[rows][known][:, None], steps[rows][known])
            share += np.clip((levels - low[:, None]) / (high - low)[:, None], 0.0, 1.0).sum(axis=0)
            count += len(low)
    return share / max(count, 1)


def _part(actual: Array, quantiles: Array) -> tuple[Array, Array]:
    """Between which levels (count,) an actual (count, 1) lies, given the quantiles (count, levels).

    Where some of them equal it, the value has a probability of its own: from midway between the last level below and
    the first of these, or 0, to midway between the last of these and the next, or 1.
    """
    edges = np.concatenate([[0.0], np.asarray(LEVELS), [1.0]])
    middles = (edges[1:] + edges[:-1]) / 2
    below, until = (quantiles < actual).sum(axis=1), (quantiles <= actual).sum(axis=1)
    equal = until > below
    low = np.where(equal, np.where(below == 0, 0.0, middles[below]), edges[below])
    high = np.where(equal, np.where(until == len(LEVELS), 1.0, middles[until]), edges[until + 1])
    return low, high


def _pieces(
    pasts: Sequence[Array], actuals: Sequence[Array], forecasts: Sequence[Forecast], season: int
) -> Iterator[_Piece]:
    for past, actual, forecast in zip(pasts, actuals, forecasts, strict=True):
        for first in range(0, len(actual), SERIES_AT_ONCE):
            rows = slice(first, first + SERIES_AT_ONCE)
            known, filled, steps = np.isfinite(actual[rows]), np.nan_to_num(actual[rows]), forecast.steps[rows]
            inside = (filled >= steps[..., 0] - 1e-9) & (filled <= steps[..., -1] + 1e-9)
            yield _Piece(
                rows,
                filled,
                known,
                np.where(known, pinball(filled, steps).mean(axis=-1), 0.0),
                np.where(known, np.abs(filled - steps[..., _MIDDLE]), 0.0),
                known & inside,
                seasonal_scale(past[rows], season)[:, None],
                forecast.totals[rows],
            )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
