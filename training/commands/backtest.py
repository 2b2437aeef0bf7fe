"""`metercast backtest`: forecasts of a task's rolling origins by one model or several, for any scorer to read."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from models.forecasters.registry import FORECASTERS, why_unknown
from training.commands.figure_table import figure_table
from training.tasks import Task, TaskError, forecast_frame, load_task, totals_frame

if TYPE_CHECKING:
    from models.contracts import Forecast
    from training.task_run import TaskRun


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    args = _arguments(argv)
    names = args.model or ["ensemble"]
    unknown = [name for name in names if name not in FORECASTERS]
    if unknown:
        print(f"metercast backtest: {why_unknown(unknown[0])}", file=sys.stderr)
        return 2
    try:
        task = load_task(args.task)
        for name in names:
            (args.out / name).mkdir(parents=True, exist_ok=True)
    except (TaskError, ValueError, OSError) as error:
        print(f"metercast backtest: {error}", file=sys.stderr)
        return 2
    try:
        rows = _run_all(task, names, args)
    except KeyboardInterrupt:
        print("metercast backtest: stopped; the same command goes on where it stood", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps({"task": task.name, "models": rows}, indent=2))
    else:
        _show(task, rows)
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="metercast backtest", description=__doc__)
    parser.add_argument("--task", type=Path, required=True, help="TASK.parquet or .csv, with TASK.json beside it")
    parser.add_argument("--model", action="append", help=f"repeatable; of {', '.join(FORECASTERS)} (default: ensemble)")
    parser.add_argument("--out", type=Path, required=True, help="writes OUT/MODEL/forecasts.parquet and totals.parquet")
    parser.add_argument("--seed", type=int, default=0, help="of the training of networks (default: 0)")
    parser.add_argument("--workers", type=int, help="processes that forecast side by side (default: as it pays)")
    parser.add_argument("--fresh", action="store_true", help="begin anew where an earlier run was stopped")
    parser.add_argument("--data", type=Path, help="also log a run a model in MLflow: in this data directory's store")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    if args.workers is not None and args.workers < 1:
        parser.error(f"--workers {args.workers}: at least 1 process is needed")
    return args


def _run_all(task: Task, names: Sequence[str], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Backtest every model, write its forecasts as soon as they are there, and log it where that is asked for."""
    from training.memory import TrainedNetworks
    from training.task_run import run_task

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    rows, networks = [], TrainedNetworks()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for name in names:
            bar = progress.add_task(name, total=1.0)

            def told(what: str, share: float, name: str = name, bar: Any = bar) -> None:
                progress.update(bar, description=f"{name}: {what}", completed=share)

            run = run_task(task, name, args.out / name, args.seed, args.workers, args.fresh, networks, told)
            _write(task, args.out / name, run.backtest.forecasts)
            run.partial.clear()
            if args.data is not None:
                told("logging", 0.99)
                run.log(args.data)
            told("done", 1.0)
            rows.append(_row(run))
    return rows


def _write(task: Task, directory: Path, forecasts: Sequence[Forecast]) -> None:
    pairs = list(zip(task.cuts, forecasts, strict=True))
    steps = pl.concat([forecast_frame(task, cut, forecast.steps) for cut, forecast in pairs])
    totals = pl.concat([totals_frame(task, cut, forecast.totals) for cut, forecast in pairs])
    steps.write_parquet(directory / "forecasts.parquet")
    totals.write_parquet(directory / "totals.parquet")


def _row(run: TaskRun) -> dict[str, Any]:
    """A model's figures as JSON, which has no NaN."""
    times = {"train_s": round(run.train_s, 2), "forecast_s": round(run.forecast_s, 2)}
    by_origin = [_plain(one.document()) for one in run.backtest.by_origin]
    return {"model": run.name, **times, **_plain(run.backtest.accuracy.document()), "by_origin": by_origin}


def _plain(figures: dict[str, float]) -> dict[str, float | None]:
    return {key: round(value, 6) if math.isfinite(value) else None for key, value in figures.items()}


def _show(task: Task, rows: list[dict[str, Any]]) -> None:
    figures = ("mase", "wql", "coverage", "bill_wape", "bill_wql", "bill_coverage", "train_s", "forecast_s")
    print(f"{task.name}: {len(task.panel.series)} series, {len(task.cuts)} origins of {task.horizon} windows")
    table = figure_table(("model", *figures))
    for row in rows:
        table.add_row(row["model"], *("" if row[name] is None else f"{row[name]:.3f}" for name in figures))
    Console().print(table)
