"""Backtest of a network of neuralforecast on a task, as `metercast backtest` does it for this project's models.

Trained once on what lies before the task's first origin, then asked from each origin. Its limits, without which it
takes hours on one core: `STEPS` steps of training or `TRAINING_CPU_S`, whichever comes first, a context of a week, and
for NHITS `WINDOWS` windows a step (the library has 1,024; the LSTM keeps its 128, of which a step takes most of a
second). All else is as the library has it by default, with all nine quantiles as its loss. A missing value is the last
known one. It has no forecast of the sum: the scorer adds up the quantiles of its steps.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.contracts import LEVELS
from training.tasks import Task, forecast_frame, load_task
from training.threads import few_threads

STEPS, WINDOWS, CONTEXT_SEASONS = 500, 256, 7
TRAINING_CPU_S = 900.0
"""As long as this project's own models may train; counted in CPU time, so that a busy machine changes nothing."""
NETWORKS = ("neuralforecast-lstm", "neuralforecast-nhits")


def main() -> int:
    """Write forecasts.parquet into DIR/MODEL and print seconds of training and forecasting as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", type=Path, required=True, help="TASK.parquet, with TASK.json beside it")
    parser.add_argument("--model", choices=NETWORKS, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="directory for MODEL/forecasts.parquet")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in ("lightning", "lightning.pytorch", "pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    task = load_task(args.task)
    with few_threads():
        started = time.perf_counter()
        network = _network(args.model, task, args.seed)
        network.fit(_frame(task, task.cuts[0]))
        trained = time.perf_counter()
        frames = [forecast_frame(task, cut, _quantiles(network, task, cut)) for cut in task.cuts]
        forecast_s = time.perf_counter() - trained
    (args.out / args.model).mkdir(parents=True, exist_ok=True)
    pl.concat(frames).write_parquet(args.out / args.model / "forecasts.parquet")
    steps = network.models[0].train_trajectories[-1][0] + 1
    print(json.dumps({"train_s": trained - started, "forecast_s": forecast_s, "steps": steps}))
    return 0


def _limit() -> Any:
    """A callback that ends the training after `TRAINING_CPU_S`."""
    from pytorch_lightning.callbacks import Callback

    class Limit(Callback):
        _until_s = time.process_time() + TRAINING_CPU_S

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            trainer.should_stop = trainer.should_stop or time.process_time() > self._until_s

    return Limit()


def _network(name: str, task: Task, seed: int) -> Any:
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import LSTM, NHITS

    shared: dict[str, Any] = {
        "h": task.horizon,
        "input_size": CONTEXT_SEASONS * task.panel.season,
        "loss": MQLoss(quantiles=list(LEVELS)),
        "max_steps": STEPS,
        "random_seed": seed + 1,
        "start_padding_enabled": True,
        "accelerator": "cpu",
        "enable_progress_bar": sys.stderr.isatty(),
        "logger": False,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "callbacks": [_limit()],
    }
    nhits = {"scaler_type": "robust", "windows_batch_size": WINDOWS}
    model = NHITS(**nhits, **shared) if name.endswith("nhits") else LSTM(**shared)
    length = f"{task.panel.window_ns // 1_000_000_000}s"
    return NeuralForecast(models=[model], freq=length)


def _frame(task: Task, cut: int) -> pl.DataFrame:
    """The past of all series in the library's long form."""
    panel = task.panel.until(cut)
    known = np.isfinite(panel.values)
    last = np.maximum.accumulate(np.where(known, np.arange(panel.windows), 0), axis=1)
    values = np.nan_to_num(np.take_along_axis(panel.values, last, axis=1))
    times = pl.Series(panel.times_ns()).cast(pl.Datetime("ns"))
    return pl.DataFrame(
        {
            "unique_id": np.repeat(np.arange(len(panel.series)), panel.windows),
            "ds": pl.concat([times] * len(panel.series)),
            "y": values.ravel().astype(np.float32),
        }
    )


def _quantiles(network: Any, task: Task, cut: int) -> NDArray[np.float64]:
    """Quantiles (series, horizon, levels) from one origin, rising and never negative."""
    found = network.predict(df=_frame(task, cut)).sort("unique_id", "ds").drop("unique_id", "ds")
    values = found.to_numpy().astype(np.float64).reshape(len(task.panel.series), task.horizon, len(LEVELS))
    return np.sort(np.maximum(np.nan_to_num(values), 0.0), axis=2)


if __name__ == "__main__":
    sys.exit(main())
