"""neuralforecast's LSTM and NHITS on a task, as whoever takes the library's defaults would run them.

Quantile loss at the task's levels, a week of context, robust scaling of each window, one core. Missing values are
masked from the loss and carried on in the input. The quantiles of a sum are the sums of the quantiles, as the library
gives no others.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.contracts import LEVELS
from models.panel import Panel
from models.quantiles import tidy
from training.tasks import Task, forecast_frame, load_task, totals_frame
from training.threads import few_threads

MODELS = ("neuralforecast-lstm", "neuralforecast-nhits")
WHY_NOT: str | None = None
try:
    import neuralforecast  # noqa: F401
except ImportError as error:
    WHY_NOT = f"{error}; pip install 'metercast-platform[neural]'"


def backtest_library(data: Path, name: str, seed: int, out: Path) -> tuple[float, float]:
    """Writes forecasts and totals to ``out/name``; returns the seconds of training and of all forecasts."""
    from neuralforecast import NeuralForecast

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    task = load_task(data)
    with few_threads():
        library = NeuralForecast(models=[_model(name, task, seed)], freq=f"{task.panel.window_ns // 1_000_000_000}s")
        started = time.perf_counter()
        library.fit(_frame(task.panel.until(task.cuts[0])))
        train_s = time.perf_counter() - started
        started = time.perf_counter()
        steps = [_quantiles(library, task, cut) for cut in task.cuts]
        forecast_s = time.perf_counter() - started
    target = out / name
    target.mkdir(parents=True, exist_ok=True)
    pairs = list(zip(task.cuts, steps, strict=True))
    pl.concat(forecast_frame(task, cut, one) for cut, one in pairs).write_parquet(target / "forecasts.parquet")
    pl.concat(totals_frame(task, cut, one.sum(axis=1)) for cut, one in pairs).write_parquet(target / "totals.parquet")
    return train_s, forecast_s


def _model(name: str, task: Task, seed: int) -> Any:
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import LSTM, NHITS

    trainer = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False}
    return {MODELS[0]: LSTM, MODELS[1]: NHITS}[name](
        h=task.horizon,
        input_size=7 * task.panel.season,
        loss=MQLoss(quantiles=list(LEVELS)),
        scaler_type="robust",
        random_seed=seed,
        enable_progress_bar=False,
        enable_model_summary=False,
        **trainer,
    )


def _frame(panel: Panel) -> pl.DataFrame:
    """The library's long form; what is missing is the last known value, and told to be so."""
    known = np.isfinite(panel.values)
    last = np.maximum.accumulate(np.where(known, np.arange(panel.windows), 0), axis=1)
    filled = np.nan_to_num(np.take_along_axis(panel.values, last, axis=1))
    count = len(panel.series)
    stamps = pl.Series(np.tile(panel.times_ns(), count)).cast(pl.Datetime("ns"))
    return pl.DataFrame(
        {
            "unique_id": np.repeat(np.arange(count), panel.windows),
            "ds": stamps,
            "y": filled.ravel(),
            "available_mask": known.ravel().astype(np.float64),
        }
    )


def _quantiles(library: Any, task: Task, cut: int) -> Any:
    """Quantiles (series, horizon, levels) of what comes after a cut."""
    found = pl.DataFrame(library.predict(_frame(task.panel.until(cut)))).sort("unique_id", "ds")
    columns = [name for name in found.columns if name not in ("unique_id", "ds")]
    if len(columns) != len(LEVELS):
        raise RuntimeError(f"the library gave {columns}, not {len(LEVELS)} quantiles")
    values = found.select(columns).to_numpy().reshape(len(task.panel.series), task.horizon, len(LEVELS))
    return tidy(values.astype(np.float64))
