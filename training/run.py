"""A training run: fit, backtest and register every model of a configuration, and crown the best."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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
from training.figures import calibration_figure, fan_figure
from training.fingerprint import fingerprint
from training.fit import fit_forecaster
from training.memory import TrainedNetworks
from training.promotion import Promotion, promote_best
from training.tracking import Tracking

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done."""

NETWORKS = ("lstm", "ensemble")
"""Models that Lightning trains; the others are fitted in no time."""

CURVE_POINTS = 100
"""At most about so many points of a loss curve are kept."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One model of a run: its registered version, backtest, and how long it took to train, in seconds."""

    name: str
    version: str
    run_id: str
    backtest: Backtest
    train_s: float


@dataclass(frozen=True, slots=True)
class Run:
    """The models of a run, and what became of the championship where promotion was asked for."""

    trained: tuple[Trained, ...]
    promotion: Promotion | None


def train(
    panel: Panel, configuration: TrainConfiguration, directory: Path, progress: Progress = lambda _what, _share: None
) -> Run:
    """Train, backtest and register every model; raises ValueError for too few windows."""
    horizon = min(configuration.data.horizon, max(1, panel.windows // 3))
    rolling = configuration.backtest
    cuts = rolling_cuts(panel.windows, horizon, rolling.origins, rolling.stride)
    # A new store takes MLflow seconds of small writes: they pass while the first model is trained.
    with ThreadPoolExecutor(1) as pool:
        opening = pool.submit(Tracking, directory, configuration.experiment)
        networks = TrainedNetworks()
        trained = tuple(
            _train_one(name, panel, horizon, cuts, configuration, opening.result, networks, progress)
            for name in sorted(configuration.models, key=lambda name: name not in NETWORKS)
        )
        tracking = opening.result()
    trained = tuple(sorted(trained, key=lambda one: configuration.models.index(one.name)))
    promotion = promote_best(tracking, trained, panel, configuration, directory) if configuration.promote else None
    return Run(trained, promotion)


def _train_one(
    name: str,
    panel: Panel,
    horizon: int,
    cuts: tuple[int, ...],
    configuration: TrainConfiguration,
    opened: Callable[[], Tracking],
    networks: TrainedNetworks,
    progress: Progress,
) -> Trained:
    """Backtest one model, fit it to all of the panel, and register it."""
    losses: list[float] = []
    fit = _fitter(name, configuration, progress, losses, networks)
    tested = backtest(fit, panel, cuts, horizon)
    losses.clear()
    started = time.perf_counter()
    forecaster = fit(panel, horizon)
    train_s = time.perf_counter() - started
    progress(f"{name}: registering", 0.0)
    tracking = opened()
    run_id, version = _record(tracking, forecaster, panel, horizon, configuration, tested)
    _log_details(tracking, run_id, panel, configuration, tested, losses, train_s)
    progress(f"{name}: done", 1.0)
    return Trained(name, version, run_id, tested, train_s)


def _log_details(
    tracking: Tracking,
    run_id: str,
    panel: Panel,
    configuration: TrainConfiguration,
    tested: Backtest,
    losses: list[float],
    train_s: float,
) -> None:
    """Figures by origin, the loss curve, plots and the resolved configuration."""
    tracking.log_figures(run_id, {"train_s": train_s})
    curves = [
        (step, {f"origin_{name}": value for name, value in origin.document().items()})
        for step, origin in enumerate(tested.by_origin)
    ]
    every = max(1, len(losses) // CURVE_POINTS)
    curves += [(step, {"train_loss": losses[step]}) for step in range(0, len(losses), every)]
    tracking.log_curves(run_id, curves)
    tracking.log_document(run_id, configuration.model_dump(mode="json"), "configuration.json")
    tracking.log_figure(run_id, fan_figure(panel, tested), "fan.png")
    tracking.log_figure(run_id, calibration_figure(panel, tested), "calibration.png")


def _fitter(
    name: str,
    configuration: TrainConfiguration,
    progress: Progress,
    losses: list[float],
    networks: TrainedNetworks,
) -> Callable[[Panel, int], Forecaster]:
    """Fits the named model, tells how far it is and collects the loss of every step."""
    config = LstmConfig(**configuration.lstm.model_dump())

    def step(share: float, loss: float) -> None:
        losses.append(loss)
        progress(f"{name}: training, loss {loss:.3f}", share)

    def fit(panel: Panel, horizon: int) -> Forecaster:
        return fit_forecaster(name, panel, horizon, config, step, networks=networks)

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
        "data": fingerprint(panel),
        "backtest": {key: _plain(value) for key, value in figures.items()} | {"origins": len(tested.cuts)},
    }
    parameters = {
        "model": forecaster.name,
        "series": len(panel.series),
        "windows": panel.windows,
        "horizon": horizon,
        "season": panel.season,
        "origins": len(tested.cuts),
        "data": fingerprint(panel),
    }
    if forecaster.name in NETWORKS:
        parameters |= configuration.lstm.model_dump()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = Path(scratch) / "bundle"
        save(forecaster, bundle, metadata)
        return tracking.record(forecaster.name, parameters, figures, bundle)


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return round(value, 6) if value == value else None  # noqa: PLR0124
