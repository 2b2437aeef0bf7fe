"""`metercast train`: fit, backtest and register forecasters on collected usage, and promote the best."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from features.data_home import add_database_url, data_home
from training.commands.figure_table import figure_table
from training.configuration import ConfigurationError, TrainConfiguration, load_configuration
from training.data import NoDataError, panel_of

if TYPE_CHECKING:
    from models.panel import Panel
    from training.run import Run, Trained


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    args = _arguments(argv)
    try:
        configuration = _configuration(args)
        if args.if_drifted and not _has_drifted(args, configuration):
            return 0
        panel = panel_of(args.data, configuration.data, args.database_url)
        from training.run import train  # MLflow and Lightning take seconds to import: only once the input is right

        with _progress() as bar:
            task = bar.add_task("starting", total=1.0)
            run = train(
                panel,
                configuration,
                args.data,
                lambda what, done: bar.update(task, description=what, completed=min(done, 0.99)),
            )
    except (ConfigurationError, NoDataError, ValueError) as error:
        print(f"metercast train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "metercast train: stopped; on the same data the same command goes on where the training stood",
            file=sys.stderr,
        )
        return 1
    if args.json:
        print(json.dumps(_document(run, panel), indent=2))
    else:
        _show(run)
    return 0


def _configuration(args: argparse.Namespace) -> TrainConfiguration:
    """The file's, as far as options do not say otherwise."""
    configuration = load_configuration(args.config)
    if args.promote:
        configuration = configuration.model_copy(update={"promote": True})
    if args.usage is not None:
        data = configuration.data.model_copy(update={"usage": args.usage})
        configuration = configuration.model_copy(update={"data": data})
    if args.seed is not None:
        lstm = configuration.lstm.model_copy(update={"seed": args.seed})
        configuration = configuration.model_copy(update={"lstm": lstm})
    return configuration


def _has_drifted(args: argparse.Namespace, configuration: TrainConfiguration) -> bool:
    """Whether there is a reason to train; tells it, and as the answer where there is none."""
    from training.drift import drift_of

    verdict = drift_of(args.data, configuration.data, args.database_url)
    print(f"metercast train: {verdict.reason}", file=sys.stderr)
    if not verdict.retrain and args.json:
        print(json.dumps({"trained": False, "drift": asdict(verdict)}, indent=2))
    return verdict.retrain


def _document(run: Run, panel: Panel) -> dict[str, Any]:
    rows = [_row(one) for one in run.trained]
    promoted = run.promotion.version if run.promotion is not None else None
    return {
        "trained": True,
        "series": len(panel.series),
        "windows": panel.windows,
        "window_s": panel.window_ns // 1_000_000_000,
        "run_id": run.run_id,
        "models": rows,
        "champion": next((row for row in rows if row["version"] == promoted), None),
        "promotion": asdict(run.promotion) if run.promotion is not None else None,
    }


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="metercast train", description=__doc__)
    parser.add_argument("config", type=Path, help="training configuration (YAML), e.g. configs/train/demo.yaml")
    parser.add_argument("--data", type=Path, default=data_home(), help="data directory of the platform")
    add_database_url(parser)
    parser.add_argument("--usage", type=Path, help="learn from this table of series instead (Parquet or CSV)")
    parser.add_argument("--promote", action="store_true", help="promote the best if it wins, whatever the file says")
    parser.add_argument("--if-drifted", action="store_true", help="train only where the champion's accuracy has fallen")
    parser.add_argument("--seed", type=int, help="of the training of networks, whatever the file says")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(argv)


def _row(one: Trained) -> dict[str, Any]:
    """A model of the run as JSON, which has no NaN."""
    figures = {
        key: round(value, 6) if math.isfinite(value) else None
        for key, value in one.backtest.accuracy.document().items()
    }
    head = {"model": one.name, "version": one.version, "run_id": one.run_id, "train_s": round(one.train_s, 3)}
    ends = {"first": round(one.losses[0], 6), "last": round(one.losses[-1], 6)} if one.losses else None
    return head | figures | {"steps": len(one.losses), "loss": ends}


def _progress() -> Progress:
    """A bar on the error stream, on a terminal only."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _show(run: Run) -> None:
    rows = [_row(one) for one in run.trained]
    promoted = run.promotion.version if run.promotion is not None else None
    figures = ("mase", "wql", "coverage", "bill_wape", "train_s")
    table = figure_table(("model", "version", *figures, ""))
    for row in rows:
        crown = "champion" if row["version"] == promoted else ""
        shown = ("" if row[name] is None else f"{row[name]:.3f}" for name in figures)
        table.add_row(row["model"], row["version"], *shown, crown)
    print("Backtest: lower is better, coverage of P10-P90 should be 0.80")
    Console().print(table)
    for row in rows:
        if row["loss"] is not None:
            ends = f"{row['loss']['first']:.4f} to {row['loss']['last']:.4f}"
            print(f"{row['model']}: training loss from {ends} in {row['steps']} steps")
    if run.promotion is not None:
        print(f"promotion: {run.promotion.reason}")
    else:
        print("nothing was promoted: `metercast promote MODEL`, or --promote")
