"""Rolling origins: every model forecasts from the same past moments, and sees nothing after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from models.contracts import LEVELS, Forecast, Forecaster
from models.panel import Panel
from training.metrics import Accuracy, StepAccuracy, accuracy, accuracy_by_series, accuracy_by_step, calibration
from training.threads import few_threads


@dataclass(frozen=True)
class Backtest:
    """Forecasts of one model from every origin (window numbers) of a panel, and how good they were."""

    panel: Panel
    cuts: tuple[int, ...]
    forecasts: tuple[Forecast, ...]

    @property
    def horizon(self) -> int:
        """How many windows each forecast reaches."""
        return int(self.forecasts[0].steps.shape[1])

    @cached_property
    def accuracy(self) -> Accuracy:
        """Figures over all series and origins."""
        return self._accuracy(range(len(self.cuts)))

    @cached_property
    def by_origin(self) -> tuple[Accuracy, ...]:
        """Figures of each origin, over all series."""
        return tuple(self._accuracy([place]) for place in range(len(self.cuts)))

    @cached_property
    def by_step(self) -> tuple[StepAccuracy, ...]:
        """Figures of each window ahead, over all series and origins."""
        return accuracy_by_step(self._pasts(), self._actuals(), list(self.forecasts), self.panel.season)

    @cached_property
    def calibration(self) -> tuple[np.ndarray, np.ndarray]:
        """Share of windows, and of totals, at or below each quantile (levels,)."""
        steps, totals = [one.steps for one in self.forecasts], [one.totals for one in self.forecasts]
        actuals = self._actuals()
        return calibration(actuals, steps), calibration([one.sum(axis=1) for one in actuals], totals)

    @cached_property
    def by_series(self) -> pl.DataFrame:
        """One row a series, worst first: columns series, scaled_pinball, wql, coverage, actual and forecast totals."""
        figures = accuracy_by_series(self._pasts(), self._actuals(), list(self.forecasts), self.panel.season)
        frame = pl.DataFrame({"series": list(self.panel.series), **figures})
        return frame.sort("scaled_pinball", descending=True, nulls_last=True)

    def frame(self) -> pl.DataFrame:
        """Rows (series, origin, step, timestamp, actual, q0.1 ... q0.9), for plots and questions of one's own."""
        return pl.concat([self._rows(cut, forecast) for cut, forecast in zip(self.cuts, self.forecasts, strict=True)])

    def _repr_html_(self) -> str:
        """Figures overall and by origin, for notebooks."""
        names = list(self.accuracy.document())
        rows = [("all", self.accuracy)]
        for cut, one in zip(self.cuts, self.by_origin, strict=True):
            rows.append((f"{self.panel.time_of(cut):%Y-%m-%d %H:%M:%S}", one))
        head = "".join(f"<th>{name}</th>" for name in ("origin", *names))
        body = "".join(
            f"<tr><td>{label}</td>"
            + "".join(f'<td style="text-align:right">{value:.3f}</td>' for value in one.document().values())
            + "</tr>"
            for label, one in rows
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _rows(self, cut: int, forecast: Forecast) -> pl.DataFrame:
        count, horizon = len(self.panel.series), self.horizon
        actual = self._actual(cut)
        times = self.panel.start_ns + (cut + np.arange(horizon)) * self.panel.window_ns
        moments = pl.Series(np.tile(times, count)).cast(pl.Datetime("ns", "UTC"))
        quantiles = {f"q{level:g}": forecast.steps[..., place].ravel() for place, level in enumerate(LEVELS)}
        return pl.DataFrame(
            {
                "series": np.repeat(np.asarray(self.panel.series), horizon),
                "origin": pl.Series([self.panel.time_of(cut)] * (count * horizon)).cast(pl.Datetime("ns", "UTC")),
                "step": np.tile(np.arange(1, horizon + 1), count),
                "timestamp": moments,
                "actual": pl.Series(actual.ravel()).fill_nan(None),
                **quantiles,
            }
        )

    def _accuracy(self, places: Sequence[int]) -> Accuracy:
        pasts, actuals = self._pasts(), self._actuals()
        return accuracy(
            [pasts[place] for place in places],
            [actuals[place] for place in places],
            [self.forecasts[place] for place in places],
            self.panel.season,
        )

    def _pasts(self) -> list[np.ndarray]:
        return [self.panel.values[:, :cut] for cut in self.cuts]

    def _actuals(self) -> list[np.ndarray]:
        return [self._actual(cut) for cut in self.cuts]

    def _actual(self, cut: int) -> np.ndarray:
        """What came after a cut, missing beyond the panel's end."""
        found = self.panel.values[:, cut : cut + self.horizon]
        return np.pad(found, ((0, 0), (0, self.horizon - found.shape[1])), constant_values=np.nan)


def rolling_cuts(windows: int, horizon: int, origins: int, stride: int | None = None) -> tuple[int, ...]:
    """The last ``origins`` cuts, ``stride`` (default: the horizon) apart, that leave a horizon of actuals each.

    Raises ValueError when the first would leave less than a third of the windows as history.
    """
    stride = stride or horizon
    cuts = tuple(windows - horizon - stride * back for back in range(origins - 1, -1, -1))
    if cuts[0] < max(2, windows // 3):
        raise ValueError(
            f"{windows} windows are too few for {origins} origins of {horizon} windows, {stride} apart; "
            "use fewer origins or a shorter horizon"
        )
    return cuts


def backtest(
    fit: Callable[[Panel, int], Forecaster],
    panel: Panel,
    cuts: Sequence[int],
    horizon: int,
    told: Callable[[int], None] = lambda _done: None,
) -> Backtest:
    """Fit once, before the first cut, then forecast from each; what is later is only compared with.

    ``told`` is called with how many origins are done, from 0.
    """
    model = fit(panel.until(cuts[0]), horizon)
    forecasts: list[Forecast] = []
    with few_threads():
        for cut in cuts:
            told(len(forecasts))
            forecasts.append(model.forecast(panel.until(cut), horizon))
    return Backtest(panel, tuple(cuts), tuple(forecasts))
