"""One model on one task: trained before the first origin, forecasting from each, resumable, logged in MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from models.contracts import Forecaster
from models.forecasters.lstm import LstmConfig
from training.backtest import Backtest
from training.fingerprint import fingerprint
from training.fit import fit_forecaster
from training.memory import TrainedNetworks
from training.origins import forecast_origins
from training.partial import Partial
from training.tasks import Task
from training.trainer import TrainerOptions

Told = Callable[[str, float], None]
"""Called with what is being done and the share that is done."""

TRAINING_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A model's backtest on a task, and the seconds that training and forecasting took."""

    name: str
    task: Task
    config: LstmConfig
    backtest: Backtest
    train_s: float
    forecast_s: float
    partial: Partial

    def log(self, directory: Path) -> str:
        """Log a run with figures by origin and by window ahead, plots and data fingerprint; returns its id."""
        from training.records import log_backtest
        from training.tracking import Tracking

        tracking = Tracking(directory, "backtest")
        panel = self.task.panel
        parameters: dict[str, Any] = {
            "task": self.task.name,
            "model": self.name,
            "series": len(panel.series),
            "windows": panel.windows,
            "horizon": self.task.horizon,
            "season": panel.season,
            "origins": len(self.task.cuts),
            "seed": self.config.seed,
            "data": fingerprint(panel),
        }
        run_id = tracking.start(f"{self.task.name}: {self.name}", parameters, tags={"task": self.task.name})
        log_backtest(tracking, run_id, self.backtest)
        tracking.log_figures(run_id, {"train_s": self.train_s, "forecast_s": self.forecast_s})
        tracking.finish(run_id)
        return run_id


def run_task(
    task: Task,
    name: str,
    directory: Path,
    seed: int = 0,
    workers: int | None = None,
    fresh: bool = False,
    networks: TrainedNetworks | None = None,
    told: Told = lambda _what, _share: None,
) -> TaskRun:
    """Backtest a registered model; what is done lies in ``directory``/.partial until the caller clears it."""
    config = replace(LstmConfig(), seed=seed)
    partial = Partial(directory / ".partial", repr((name, fingerprint(task.panel), task.cuts, task.horizon, config)))
    if fresh:
        partial.clear()
        partial.directory.mkdir(parents=True)
    model, train_s = _trained(task, name, config, partial, networks, told)
    count = len(task.cuts)

    def advanced(done: int) -> None:
        told(f"forecasting, {done} of {count} origins", TRAINING_SHARE + (1 - TRAINING_SHARE) * done / count)

    forecasts, forecast_s = forecast_origins(model, task.panel, task.cuts, task.horizon, workers, partial, advanced)
    tested = Backtest(task.panel, task.cuts, tuple(forecasts))
    return TaskRun(name, task, config, tested, train_s, forecast_s, partial)


def _trained(
    task: Task, name: str, config: LstmConfig, partial: Partial, networks: TrainedNetworks | None, told: Told
) -> tuple[Forecaster, float]:
    """The model fitted to what lies before the first origin, or as an earlier run left it."""
    known = partial.model()
    if known is not None:
        return known
    told("training", 0.0)
    started = time.perf_counter()
    model = fit_forecaster(
        name,
        task.panel.until(min(task.cuts)),
        task.horizon,
        config,
        progress=lambda done, _loss: told("training", TRAINING_SHARE * done),
        networks=networks,
        options=TrainerOptions(checkpoints=partial.checkpoints),
    )
    train_s = time.perf_counter() - started
    partial.keep_model(model, train_s)
    return model, train_s
