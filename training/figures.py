"""Plots of backtests and trainings, for MLflow and notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO

import numpy as np
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure

from models.contracts import LEVELS
from models.labels import labels_of
from models.panel import Panel
from training.backtest import Backtest

ROWS = 4
SMOOTHED_OVER = 20
"""The mean of so large a part (a twentieth) of all steps shows where a training goes."""


class Picture(Figure):
    """A figure that notebooks show by itself, without pyplot and its state."""

    def _repr_png_(self) -> bytes:
        """The figure as notebooks ask for it."""
        target = BytesIO()
        self.savefig(target, format="png", dpi=100)
        return target.getvalue()


def fan_figure(tested: Backtest, series: Sequence[str] = (), origin: int = -1, named: bool = True) -> Picture:
    """Forecast fans from one origin, over what then happened, of ``series`` or else of the busiest.

    Without ``named`` the titles tell rank and kind of the series and nobody's name. Raises ValueError for a series that
    is not in the panel.
    """
    panel, cut, forecast = tested.panel, tested.cuts[origin], tested.forecasts[origin]
    horizon = tested.horizon
    rows = [panel.series.index(name) for name in series] or _busiest(tested, cut)
    figure = Picture(figsize=(9, 2.2 * len(rows)), layout="constrained")
    first, end = max(0, cut - max(horizon, 2 * panel.season)), min(panel.windows, cut + horizon)
    times = panel.times_ns(max(0, cut + horizon - panel.windows)).astype("datetime64[ns]")
    past, ahead = times[first:end], times[cut : cut + horizon]
    for place, row in enumerate(rows):
        axes = figure.add_subplot(len(rows), 1, place + 1)
        steps = forecast.steps[row]
        for low in range(len(LEVELS) // 2):
            axes.fill_between(ahead, steps[:, low], steps[:, -1 - low], color="tab:blue", alpha=0.15, linewidth=0)
        axes.plot(past, panel.values[row, first:end], color="black", linewidth=0.8, label="actual")
        axes.plot(ahead, steps[:, LEVELS.index(0.5)], color="tab:blue", linewidth=1, label="P50, bands P10 to P90")
        axes.axvline(times[cut], color="grey", linewidth=0.8, linestyle="--", label="origin")
        axes.set_title(panel.series[row] if named else _nameless(panel, row, place), fontsize=8)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=7)
        dates = ConciseDateFormatter(axes.xaxis.get_major_locator())  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_formatter(dates)
        axes.xaxis.get_offset_text().set_fontsize(7)
    figure.axes[-1].set_xlabel("start of the window, UTC", fontsize=8)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return figure


def calibration_figure(tested: Backtest) -> Picture:
    """How often actuals fell at or below each quantile, for windows and for totals; on the diagonal is right."""
    windows, totals = tested.calibration
    figure = Picture(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--", label="perfect")
    axes.plot(LEVELS, windows, marker="o", label="windows")
    axes.plot(LEVELS, totals, marker="s", label="totals")
    axes.set(xlabel="quantile", ylabel="share of actuals at or below it", xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=8)
    return figure


def horizon_figure(tested: Backtest | Mapping[str, Backtest]) -> Picture:
    """Weighted quantile loss by how far ahead a window was forecast, of one model or of several by name."""
    models = {"": tested} if isinstance(tested, Backtest) else tested
    figure = Picture(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    for name, one in models.items():
        axes.plot([point.step for point in one.by_step], [point.wql for point in one.by_step], label=name)
    axes.set(xlabel="windows ahead", ylabel="weighted quantile loss")
    axes.set_ylim(bottom=0)
    if len(models) > 1:
        axes.legend(fontsize=8)
    return figure


def loss_figure(losses: Sequence[float], held_back: Sequence[float] = ()) -> Picture:
    """The loss of every training step, and of the checks on what was held back."""
    figure = Picture(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        range(1, len(losses) + 1), losses, linewidth=0.8, color="tab:blue", alpha=0.4, label="training, each step"
    )
    width = max(1, len(losses) // SMOOTHED_OVER)
    if width > 1:
        smooth = np.convolve(losses, np.full(width, 1 / width), "valid")
        axes.plot(range(width, len(losses) + 1), smooth, color="tab:blue", label=f"mean of {width} steps")
    if held_back:
        at = np.linspace(len(losses) / len(held_back), len(losses), len(held_back))
        axes.plot(at, held_back, marker="o", color="tab:orange", label="held back")
    axes.set(xlabel="step", ylabel="loss")
    axes.legend(fontsize=8)
    return figure


def search_figure(values: Sequence[float], metric: str) -> Picture:
    """What every completed trial of a search reached, and the best until then; lower is better."""
    figure = Picture(figsize=(6, 3), layout="constrained")
    axes = figure.add_subplot()
    numbers = range(1, len(values) + 1)
    axes.plot(numbers, values, linestyle="none", marker="o", markersize=4, label="trial")
    axes.plot(numbers, np.minimum.accumulate(values), drawstyle="steps-post", label="best so far")
    axes.set(xlabel="completed trial", ylabel=metric)
    axes.legend(fontsize=8)
    return figure


def _nameless(panel: Panel, row: int, place: int) -> str:
    """What a series is without whose it is, as a picture outlives the erasure of a person."""
    return ", ".join((f"series {place + 1}", *(label for label in labels_of(panel, row) if label)))


def _busiest(tested: Backtest, cut: int) -> list[int]:
    after = np.nan_to_num(tested.panel.values[:, cut : cut + tested.horizon]).sum(axis=1)
    return [int(row) for row in np.argsort(-after)[:ROWS]]
