"""What of a backtest and a training goes into an MLflow run: figures, curves and plots."""

from __future__ import annotations

from collections.abc import Sequence

from training.backtest import Backtest
from training.figures import calibration_figure, fan_figure, horizon_figure, loss_figure
from training.tracking import Tracking

CURVE_POINTS = 100
"""At most about so many points of a curve are kept."""


def log_backtest(tracking: Tracking, run_id: str, tested: Backtest) -> None:
    """Figures overall, by origin (step: its number) and by horizon (step: windows ahead); fans and calibration."""
    tracking.log_figures(run_id, tested.accuracy.document())
    curves = [
        (step, {f"origin_{name}": value for name, value in origin.document().items()})
        for step, origin in enumerate(tested.by_origin)
    ]
    ahead = tested.by_step
    curves += [
        (one.step, {f"horizon_{name}": value for name, value in one.document().items()})
        for one in ahead[:: max(1, len(ahead) // CURVE_POINTS)]
    ]
    tracking.log_curves(run_id, curves)
    tracking.log_figure(run_id, fan_figure(tested, named=False), "fan.png")
    tracking.log_figure(run_id, calibration_figure(tested), "calibration.png")
    tracking.log_figure(run_id, horizon_figure(tested), "horizon.png")


def log_losses(tracking: Tracking, run_id: str, losses: Sequence[float], held_back: Sequence[float] = ()) -> None:
    """The loss of every step, thinned out, that of the checks on what was held back, and a plot of both."""
    every = max(1, len(losses) // CURVE_POINTS)
    curves = [(step, {"train_loss": losses[step]}) for step in range(0, len(losses), every)]
    curves += [(check + 1, {"holdout_loss": loss}) for check, loss in enumerate(held_back)]
    tracking.log_curves(run_id, curves)
    if losses:
        tracking.log_figure(run_id, loss_figure(losses, held_back), "loss.png")
