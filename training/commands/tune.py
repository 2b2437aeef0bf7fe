"""`metercast tune`: search better sizes and training of a network on collected usage; interrupted searches resume."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from features.data_home import add_database_url, data_home
from training.configuration import ConfigurationError, TrainConfiguration, TuneConfiguration, load_tune_configuration
from training.data import NoDataError, panel_of
from training.tasks import TaskError, load_task

if TYPE_CHECKING:
    from models.panel import Panel
    from training.search import Search


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    args = _arguments(argv)
    try:
        configuration = load_tune_configuration(args.config)
        if args.trials is not None:
            changed = configuration.model_dump() | {"trials": args.trials}
            configuration = TuneConfiguration.model_validate(changed)
        if args.usage is not None:
            data = configuration.data.model_copy(update={"usage": args.usage})
            configuration = configuration.model_copy(update={"data": data})
        panel, horizon = _data(args, configuration)
        from training.search import search  # Optuna, MLflow and Lightning take seconds to import

        console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("starting", total=1.0)
            found = search(
                panel,
                horizon,
                configuration,
                args.data,
                lambda what, done: bar.update(task, description=what, completed=done),
                args.workers,
            )
        if args.out is not None:
            args.out.write_text(_train_configuration(configuration, found), encoding="utf-8")
    except (ConfigurationError, NoDataError, TaskError, ValueError, OSError) as error:
        print(f"metercast tune: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("metercast tune: stopped; the same command resumes the study", file=sys.stderr)
        return 1
    except RuntimeError as error:
        print(f"metercast tune: {error}", file=sys.stderr)
        return 1
    _show(found, configuration, args)
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="metercast tune", description=__doc__)
    parser.add_argument("config", type=Path, help="search (YAML), e.g. configs/tune/lstm.yaml")
    parser.add_argument("--data", type=Path, default=data_home(), help="data directory; holds the study too")
    add_database_url(parser)
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--usage", type=Path, help="search on this table of series instead (Parquet or CSV)")
    other.add_argument("--task", type=Path, help="search on what lies before the first origin of this task instead")
    parser.add_argument("--trials", type=int, help="how many trials the study shall have in all")
    parser.add_argument("--workers", type=int, default=1, help="trials at once, a process each (default: 1)")
    parser.add_argument("--out", type=Path, help="write a training configuration with the best values (YAML)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error(f"--workers {args.workers}: at least 1 process is needed")
    return args


def _data(args: argparse.Namespace, configuration: TuneConfiguration) -> tuple[Panel, int]:
    """The panel to search on and the horizon; of a task only its past, so that its origins stay unseen."""
    if args.task is None:
        return panel_of(args.data, configuration.data, args.database_url), configuration.data.horizon
    task = load_task(args.task)
    return task.panel.until(min(task.cuts)), task.horizon


def _train_configuration(configuration: TuneConfiguration, found: Search) -> str:
    """The YAML of a training run that uses what was found."""
    best = TrainConfiguration.model_validate(
        {
            "experiment": configuration.experiment,
            "data": configuration.data.model_dump(),
            "models": ["seasonal-naive", configuration.model],
            "lstm": asdict(found.best),
            "backtest": configuration.backtest.model_dump(),
        }
    )
    head = f"# Study {found.study}: {configuration.metric} {found.best_value:.6g} after {found.completed} trials.\n"
    return head + yaml.safe_dump(best.model_dump(mode="json", exclude_none=True), sort_keys=False)


def _show(found: Search, configuration: TuneConfiguration, args: argparse.Namespace) -> None:
    document: dict[str, Any] = asdict(found) | {"metric": configuration.metric}
    if args.json:
        print(json.dumps(document, indent=2))
        return
    values = ", ".join(f"{name} {value:g}" for name, value in found.parameters.items())
    print(f"best {configuration.metric} {found.best_value:.4f} (first trial {found.first_value:.4f}): {values}")
    print(f"{found.completed} trials completed, {found.pruned} pruned, {found.failed} failed")
