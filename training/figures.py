"""Plots of a backtest for MLflow."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from models.contracts import LEVELS
from models.panel import Panel
from training.backtest import Backtest

ROWS = 4


def fan_figure(panel: Panel, tested: Backtest) -> Figure:
    """Forecast fans of the busiest series from the last origin, over what then happened."""
    cut, forecast = tested.cuts[-1], tested.forecasts[-1]
    horizon = forecast.steps.shape[1]
    busiest = np.argsort(-np.nan_to_num(panel.values[:, cut:]).sum(axis=1))[:ROWS]
    figure = Figure(figsize=(9, 2.2 * len(busiest)), layout="constrained")
    ahead = np.arange(cut, cut + horizon)
    first = max(0, cut - 3 * horizon)
    for place, row in enumerate(busiest):
        axes = figure.add_subplot(len(busiest), 1, place + 1)
        end = min(panel.windows, cut + horizon)
        axes.plot(np.arange(first, end), panel.values[row, first:end], color="black", linewidth=0.8, label="actual")
        steps = forecast.steps[row]
        for low in range(len(LEVELS) // 2):
            axes.fill_between(ahead, steps[:, low], steps[:, -1 - low], color="tab:blue", alpha=0.15, linewidth=0)
        axes.plot(ahead, steps[:, LEVELS.index(0.5)], color="tab:blue", linewidth=1, label="P50, bands P10 to P90")
        axes.set_title(panel.series[row], fontsize=8)
        axes.tick_params(labelsize=7)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    return figure


def calibration_figure(panel: Panel, tested: Backtest) -> Figure:
    """How often actuals fell at or below each quantile, for windows and for totals; on the diagonal is right."""
    horizon = tested.forecasts[0].steps.shape[1]
    actual = np.stack([panel.values[:, cut : cut + horizon] for cut in tested.cuts])
    known = np.isfinite(actual)
    steps = np.stack([forecast.steps for forecast in tested.forecasts])
    totals = np.stack([forecast.totals for forecast in tested.forecasts])
    bill = np.nan_to_num(actual).sum(axis=2)
    below = [float((actual <= steps[..., place])[known].mean()) for place in range(len(LEVELS))] if known.any() else []
    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8, linestyle="--", label="perfect")
    axes.plot(LEVELS[: len(below)], below, marker="o", label="windows")
    axes.plot(LEVELS, (bill[..., None] <= totals).mean(axis=(0, 1)), marker="s", label="totals")
    axes.set(xlabel="quantile", ylabel="share of actuals at or below it", xlim=(0, 1), ylim=(0, 1))
    axes.legend(fontsize=8)
    return figure
