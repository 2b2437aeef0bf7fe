"""`metercast backtest`: forecasts of a task's rolling origins by one model or several, for any scorer to read."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from models.forecasters.registry import FORECASTERS
from training.tasks import Task, TaskError, forecast_frame, load_task, totals_frame

if TYPE_CHECKING:
    from training.memory import TrainedNetworks


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="metercast backtest", description=__doc__)
    parser.add_argument("--task", type=Path, required=True, help="TASK.parquet or .csv, with TASK.json beside it")
    parser.add_argument("--model", action="append", help=f"repeatable; of {', '.join(FORECASTERS)} (default: ensemble)")
    parser.add_argument("--out", type=Path, required=True, help="writes OUT/MODEL/forecasts.parquet and totals.parquet")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    names = args.model or ["ensemble"]
    unknown = [name for name in names if name not in FORECASTERS]
    if unknown:
        print(f"metercast backtest: no model {unknown[0]!r}; there are {', '.join(FORECASTERS)}", file=sys.stderr)
        return 2
    try:
        task = load_task(args.task)
        for name in names:
            (args.out / name).mkdir(parents=True, exist_ok=True)
    except (TaskError, ValueError, OSError) as error:
        print(f"metercast backtest: {error}", file=sys.stderr)
        return 2
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        from training.memory import TrainedNetworks

        networks = TrainedNetworks()
        rows = [_run(name, task, args.out / name, progress, networks) for name in names]
    if args.json:
        print(json.dumps({"task": task.name, "models": rows}, indent=2))
    else:
        _show(task, rows)
    return 0


def _run(name: str, task: Task, directory: Path, progress: Progress, networks: TrainedNetworks) -> dict[str, Any]:
    """Backtest one model, write its forecasts, and return its figures."""
    from training.backtest import backtest
    from training.fit import fit_forecaster

    bar = progress.add_task(f"{name}: training", total=1.0)
    started, trained_s = time.perf_counter(), [0.0]

    def fit(panel: Any, horizon: int) -> Any:
        model = fit_forecaster(
            name,
            panel,
            horizon,
            progress=lambda done, _loss: progress.update(bar, completed=0.8 * done),
            networks=networks,
        )
        trained_s[0] = time.perf_counter() - started
        progress.update(bar, description=f"{name}: forecasting", completed=0.8)
        return model

    tested = backtest(fit, task.panel, task.cuts, task.horizon)
    pairs = list(zip(task.cuts, tested.forecasts, strict=True))
    steps = pl.concat([forecast_frame(task, cut, forecast.steps.tolist()) for cut, forecast in pairs])
    totals = pl.concat([totals_frame(task, cut, forecast.totals.tolist()) for cut, forecast in pairs])
    steps.write_parquet(directory / "forecasts.parquet")
    totals.write_parquet(directory / "totals.parquet")
    progress.update(bar, description=f"{name}: done", completed=1.0)
    forecast_s = time.perf_counter() - started - trained_s[0]
    figures = {
        key: round(value, 6) if math.isfinite(value) else None for key, value in tested.accuracy.document().items()
    }
    return {"model": name, "train_s": round(trained_s[0], 2), "forecast_s": round(forecast_s, 2), **figures}


def _show(task: Task, rows: list[dict[str, Any]]) -> None:
    figures = ("mase", "wql", "coverage", "bill_wape", "bill_wql", "bill_coverage", "train_s", "forecast_s")
    title = f"{task.name}: {len(task.panel.series)} series, {len(task.cuts)} origins of {task.horizon} windows"
    table = Table("model", *figures, title=title)
    for row in rows:
        table.add_row(row["model"], *("" if row[name] is None else f"{row[name]:.3f}" for name in figures))
    Console().print(table)
