"""A training run: fit, backtest and register every model of a configuration, and crown the best."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from models.bundle import save
from models.contracts import Forecaster
from models.drift import reach_of
from models.forecasters.lstm import LstmConfig
from models.losses import scaled_pinball
from models.panel import Panel
from training.backtest import Backtest, backtest, rolling_cuts
from training.configuration import TrainConfiguration
from training.fingerprint import fingerprint
from training.fit import fit_forecaster
from training.memory import TrainedNetworks
from training.promotion import Promotion, promote_best
from training.records import log_backtest, log_losses
from training.served_model import save_served
from training.tracking import Tracking
from training.trainer import TrainerOptions, precision

Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done."""

NETWORKS = ("lstm", "ensemble")
"""Models that Lightning trains; the others are fitted in no time."""


@dataclass(frozen=True, slots=True)
class Trained:
    """One model of a run: its registered version, backtest, training time in seconds, and its losses step by step."""

    name: str
    version: str
    run_id: str
    backtest: Backtest
    train_s: float
    losses: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """The models of a run, nested in the MLflow run ``run_id``, and what became of the championship if asked for."""

    run_id: str
    trained: tuple[Trained, ...]
    promotion: Promotion | None

    def _repr_html_(self) -> str:
        """One row a model, for notebooks."""
        names = list(self.trained[0].backtest.accuracy.document())
        head = "".join(f"<th>{name}</th>" for name in ("model", "version", *names, "train_s"))
        body = "".join(
            f"<tr><td>{one.name}</td><td>{one.version}</td>"
            + "".join(
                f'<td style="text-align:right">{value:.3f}</td>'
                for value in (*one.backtest.accuracy.document().values(), one.train_s)
            )
            + "</tr>"
            for one in self.trained
        )
        told = f"<p>{self.promotion.reason}</p>" if self.promotion is not None else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{told}"


@dataclass(slots=True)
class _Work:
    """What every model of a run needs."""

    panel: Panel
    configuration: TrainConfiguration
    directory: Path
    horizon: int
    cuts: tuple[int, ...]
    opened: Future[tuple[Tracking, str]]
    progress: Progress
    order: list[str]
    networks: TrainedNetworks = field(default_factory=TrainedNetworks)

    @property
    def config(self) -> LstmConfig:
        """Sizes and training of networks."""
        return LstmConfig(**self.configuration.lstm.model_dump())

    def tell(self, name: str, what: str, share: float) -> None:
        """Say which model of how many is at what, and the share of it that is done."""
        names = self.order
        self.progress(f"{name} ({names.index(name) + 1} of {len(names)}): {what}", share)

    def forecasting(self, name: str, done: int) -> None:
        """Say from which origin of how many a model forecasts."""
        self.tell(name, f"forecasting from origin {done + 1} of {len(self.cuts)}", done / len(self.cuts))


def train(
    panel: Panel, configuration: TrainConfiguration, directory: Path, progress: Progress = lambda _what, _share: None
) -> Run:
    """Train, backtest and register every model; raises ValueError for too few windows or a precision there is not."""
    horizon = min(configuration.data.horizon, max(1, panel.windows // 3))
    rolling = configuration.backtest
    cuts = rolling_cuts(panel.windows, horizon, rolling.origins, rolling.stride)
    precision(TrainerOptions(configuration.trainer.precision, configuration.trainer.accelerator))
    # A new store takes MLflow seconds of small writes: they pass while the first model is trained.
    with ThreadPoolExecutor(1) as pool:
        opened = pool.submit(_open, directory, configuration, panel, horizon, cuts)
        order = sorted(configuration.models, key=lambda name: name not in NETWORKS)
        work = _Work(panel, configuration, directory, horizon, cuts, opened, progress, order)
        try:
            trained = [_train_one(name, work) for name in order]
        except BaseException:
            _close(opened, "KILLED")
            raise
    tracking, run_id = opened.result()
    trained.sort(key=lambda one: configuration.models.index(one.name))
    promotion = promote_best(tracking, trained, panel, configuration, directory) if configuration.promote else None
    _close(opened, "FINISHED")
    return Run(run_id, tuple(trained), promotion)


def _open(
    directory: Path, configuration: TrainConfiguration, panel: Panel, horizon: int, cuts: tuple[int, ...]
) -> tuple[Tracking, str]:
    """The store, and the run that those of all models are nested in, with the resolved configuration."""
    tracking = Tracking(directory, configuration.experiment)
    parameters = {"models": ", ".join(configuration.models), **_parameters(panel, horizon, cuts)}
    run_id = tracking.start(f"train {datetime.now(UTC):%Y-%m-%d %H:%M:%S}", parameters)
    resolved = {
        "horizon": horizon,
        "origins": [panel.time_of(cut).isoformat() for cut in cuts],
        "precision": precision(TrainerOptions(configuration.trainer.precision, configuration.trainer.accelerator)),
    }
    tracking.log_document(run_id, configuration.model_dump(mode="json") | {"resolved": resolved}, "configuration.json")
    return tracking, run_id


def _close(opened: Future[tuple[Tracking, str]], status: str) -> None:
    tracking, run_id = opened.result()
    tracking.finish(run_id, status)


def _train_one(name: str, work: _Work) -> Trained:
    """Backtest one model, fit it to all of the panel, and register it."""
    losses: list[float] = []
    held_back: list[float] = []
    with tempfile.TemporaryDirectory(prefix="metercast-train-") as scratch:
        profile = Path(scratch) / "profile.txt"
        fit = _fitter(name, work, losses, held_back, profile)
        tested = backtest(fit, work.panel, work.cuts, work.horizon, lambda done: work.forecasting(name, done))
        backtested = list(losses)
        losses.clear()
        held_back.clear()
        started = time.perf_counter()
        forecaster = fit(work.panel, work.horizon)
        train_s = time.perf_counter() - started
        work.tell(name, "registering", 1.0)
        tracking, parent = work.opened.result()
        run_id = tracking.start(name, _parameters_of(forecaster, work), parent)
        log_backtest(tracking, run_id, tested)
        log_losses(tracking, run_id, losses or backtested, held_back)
        tracking.log_figures(run_id, {"train_s": train_s})
        if profile.is_file():
            tracking.log_file(run_id, profile)
        version = _register(tracking, run_id, forecaster, work, tested, Path(scratch))
        tracking.finish(run_id)
    work.tell(name, "done", 1.0)
    return Trained(name, version, run_id, tested, train_s, tuple(losses or backtested))


def _fitter(
    name: str, work: _Work, losses: list[float], held_back: list[float], profile: Path
) -> Callable[[Panel, int], Forecaster]:
    """Fits the named model, tells how far it is and collects the loss of every step and check."""
    told = work.configuration.trainer
    options = TrainerOptions(
        precision=told.precision,
        accelerator=told.accelerator,
        patience=told.patience,
        checks=told.checks,
        checkpoints=work.directory / "checkpoints",
        overfit_batch=told.overfit_batch,
        profile=profile if told.profile else None,
        checked=lambda _check, loss: held_back.append(loss),
    )

    stage = ""

    def step(share: float, loss: float) -> None:
        losses.append(loss)
        work.tell(name, f"{stage}, loss {loss:.3f}", share)

    def fit(panel: Panel, horizon: int) -> Forecaster:
        nonlocal stage
        stage = "training on all windows" if panel.windows == work.panel.windows else "training for the backtest"
        work.tell(name, stage, 0.0)
        return fit_forecaster(name, panel, horizon, work.config, step, networks=work.networks, options=options)

    return fit


def _parameters(panel: Panel, horizon: int, cuts: tuple[int, ...]) -> dict[str, Any]:
    return {
        "series": len(panel.series),
        "windows": panel.windows,
        "window_s": panel.window_ns // 1_000_000_000,
        "horizon": horizon,
        "season": panel.season,
        "origins": len(cuts),
        "data": fingerprint(panel),
    }


def _parameters_of(forecaster: Forecaster, work: _Work) -> dict[str, Any]:
    parameters = {"model": forecaster.name} | _parameters(work.panel, work.horizon, work.cuts)
    if forecaster.name in NETWORKS:
        parameters |= work.configuration.lstm.model_dump()
        parameters |= {f"trainer_{key}": value for key, value in work.configuration.trainer.model_dump().items()}
    return parameters


def _register(
    tracking: Tracking, run_id: str, forecaster: Forecaster, work: _Work, tested: Backtest, scratch: Path
) -> str:
    """Save the bundle inside an MLflow model and register it; returns the version."""
    panel, figures = work.panel, tested.accuracy.document()
    metadata: dict[str, Any] = {
        "name": forecaster.name,
        "window_s": panel.window_ns // 1_000_000_000,
        "season": panel.season,
        "horizon": work.horizon,
        "resources": sorted(set(panel.resources)),
        "trained_until": datetime.fromtimestamp(int(panel.times_ns(1)[-1]) / 1e9, UTC).isoformat(),
        "data": fingerprint(panel),
        "run_id": run_id,
        "recipe": asdict(work.config) if forecaster.name in NETWORKS else None,
        "watched": _watched(tested, panel, work.horizon),
        "backtest": {key: _plain(value) for key, value in figures.items()} | {"origins": len(tested.cuts)},
    }
    bundle = scratch / "bundle"
    save(forecaster, bundle, metadata)
    save_served(bundle, metadata, scratch / "model")
    return tracking.register(run_id, forecaster.name, scratch / "model")


def _watched(tested: Backtest, panel: Panel, horizon: int) -> dict[str, Any]:
    """The backtest's loss as far ahead as the server watches the model: what drift is measured against."""
    reach = reach_of({"season": panel.season, "horizon": horizon})
    losses = [
        scaled_pinball(panel.values[:, :cut], panel.values[:, cut : cut + reach], one.steps[:, :reach], panel.season)
        for cut, one in zip(tested.cuts, tested.forecasts, strict=True)
    ]
    known = np.concatenate(losses)
    known = known[np.isfinite(known)]
    return {"windows": reach, "scaled_pinball": round(float(known.mean()), 6) if known.size else None}


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return round(value, 6) if value == value else None  # noqa: PLR0124
