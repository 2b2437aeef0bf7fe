"""A training run: fit, backtest and register every model of a configuration, and crown the best."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.bundle import save
from models.contracts import Forecaster
from models.forecasters.lstm import LstmConfig
from models.panel import Panel
from training.backtest import Backtest, backtest, rolling_cuts
from training.configuration import TrainConfiguration
from training.export import export_champion
from training.figures import fan_figure
from training.fit import fit_forecaster
from training.tracking import Tracking

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One model of a run: its registered version, backtest, and how long it took to train, in seconds."""

    name: str
    version: str
    run_id: str
    backtest: Backtest
    train_s: float


def train(
    panel: Panel, configuration: TrainConfiguration, directory: Path, progress: Progress = lambda _what, _share: None
) -> tuple[list[Trained], str | None]:
    """Train, backtest and register; returns the models and the version promoted (None where that is not asked for)."""
    horizon = min(configuration.data.horizon, max(1, panel.windows // 3))
    rolling = configuration.backtest
    cuts = rolling_cuts(panel.windows, horizon, rolling.origins, rolling.stride)
    tracking = Tracking(directory, configuration.experiment)
    trained = []
    for name in configuration.models:
        fit = _fitter(name, configuration, progress)
        tested = backtest(fit, panel, cuts, horizon)
        started = time.perf_counter()
        forecaster = fit(panel, horizon)
        train_s = time.perf_counter() - started
        progress(f"{name}: registering", 0.0)
        run_id, version = _record(tracking, forecaster, panel, horizon, configuration, tested)
        tracking.log_figure(run_id, fan_figure(panel, tested), "fan.png")
        trained.append(Trained(name, version, run_id, tested, train_s))
        progress(f"{name}: done", 1.0)
    promoted = None
    if configuration.promote:
        best = min(trained, key=lambda one: one.backtest.accuracy.document()[configuration.metric])
        promoted = best.version
        export_champion(tracking, promoted, directory)
    return trained, promoted


def _fitter(name: str, configuration: TrainConfiguration, progress: Progress) -> Callable[[Panel, int], Forecaster]:
    config = LstmConfig(**configuration.lstm.model_dump())

    def fit(panel: Panel, horizon: int) -> Forecaster:
        return fit_forecaster(
            name, panel, horizon, config, lambda share, loss: progress(f"{name}: training, loss {loss:.3f}", share)
        )

    return fit


def _record(
    tracking: Tracking,
    forecaster: Forecaster,
    panel: Panel,
    horizon: int,
    configuration: TrainConfiguration,
    tested: Backtest,
) -> tuple[str, str]:
    figures = tested.accuracy.document()
    metadata: dict[str, Any] = {
        "name": forecaster.name,
        "window_s": panel.window_ns // 1_000_000_000,
        "season": panel.season,
        "horizon": horizon,
        "resources": sorted(set(panel.resources)),
        "trained_until": datetime.fromtimestamp(int(panel.times_ns(1)[-1]) / 1e9, UTC).isoformat(),
        "backtest": {key: _plain(value) for key, value in figures.items()} | {"origins": len(tested.cuts)},
    }
    parameters = {
        "model": forecaster.name,
        "series": len(panel.series),
        "windows": panel.windows,
        "horizon": horizon,
        "season": panel.season,
        "origins": len(tested.cuts),
    }
    if forecaster.name == "lstm":
        parameters |= configuration.lstm.model_dump()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        save(forecaster, bundle, metadata)
        return tracking.record(forecaster.name, parameters, figures, bundle)


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return round(value, 6) if value == value else None  # noqa: PLR0124
