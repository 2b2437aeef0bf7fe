"""Rolling origins: every model forecasts from the same past moments, and sees nothing after them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from models.contracts import Forecast, Forecaster
from models.panel import Panel
from training.metrics import Accuracy, accuracy
from training.threads import few_threads


@dataclass(frozen=True, slots=True)
class Backtest:
    """Forecasts of one model from every origin (window numbers), and how good they were, overall and by origin."""

    cuts: tuple[int, ...]
    forecasts: tuple[Forecast, ...]
    accuracy: Accuracy
    by_origin: tuple[Accuracy, ...]


def rolling_cuts(windows: int, horizon: int, origins: int, stride: int | None = None) -> tuple[int, ...]:
    """The last ``origins`` cuts, ``stride`` (default: the horizon) apart, that leave a horizon of actuals each.

    Raises ValueError when the first would leave less than half of the windows as history.
    """
    stride = stride or horizon
    cuts = tuple(windows - horizon - stride * back for back in range(origins - 1, -1, -1))
    if cuts[0] < max(2, windows // 3):
        raise ValueError(
            f"{windows} windows are too few for {origins} origins of {horizon} windows, {stride} apart; "
            "use fewer origins or a shorter horizon"
        )
    return cuts


def backtest(fit: Callable[[Panel, int], Forecaster], panel: Panel, cuts: Sequence[int], horizon: int) -> Backtest:
    """Fit once, before the first cut, then forecast from each; what is later is only compared with."""
    model = fit(panel.until(cuts[0]), horizon)
    with few_threads():
        forecasts = tuple(model.forecast(panel.until(cut), horizon) for cut in cuts)
    pasts = [panel.values[:, :cut] for cut in cuts]
    actuals = [panel.values[:, cut : cut + horizon] for cut in cuts]
    each = tuple(
        accuracy([past], [actual], [forecast], panel.season)
        for past, actual, forecast in zip(pasts, actuals, forecasts, strict=True)
    )
    return Backtest(tuple(cuts), forecasts, accuracy(pasts, actuals, list(forecasts), panel.season), each)
