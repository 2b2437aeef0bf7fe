"""Processes that work on one study side by side: each takes trials that are left until there are none."""

from __future__ import annotations

import multiprocessing
import signal
import tempfile
import warnings
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import optuna

from models.panel import Panel
from training.configuration import TuneConfiguration
from training.mapped_panel import handed_over, taken_over
from training.search import objective_of, study_of
from training.tracking import Tracking

POLL_S = 0.5
PATIENCE_S = 30.0
"""So long an interrupted worker may take to tell study and MLflow that its trial was stopped."""

LEFT = 130
INTERRUPTED = (LEFT, -signal.SIGINT)
"""Exit codes of a worker that Ctrl-C reached, in its work or before it began."""


class WorkerError(RuntimeError):
    """A process of a search ended by an error."""


def run_workers(
    panel: Panel,
    horizon: int,
    configuration: TuneConfiguration,
    directory: Path,
    trials: int,
    workers: int,
    told: Callable[[], None],
) -> None:
    """Run so many trials in so many processes; ``told`` is called from time to time.

    Raises WorkerError when a process ended by an error, KeyboardInterrupt when one was interrupted.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="metercast-tune-") as scratch:
        values = Path(scratch) / "values.npy"
        rest = handed_over(panel, values)
        left: SimpleQueue[bool] = context.SimpleQueue()
        for _ in range(trials):
            left.put(True)
        for _ in range(workers):
            left.put(False)
        processes = [
            context.Process(target=_work, args=(left, rest, values, horizon, configuration, directory))
            for _ in range(workers)
        ]
        for process in processes:
            process.start()
        try:
            _wait(processes, told)
        except BaseException:
            _end(processes)
            raise


def _wait(processes: list[SpawnProcess], told: Callable[[], None]) -> None:
    while any(process.is_alive() for process in processes):
        for process in processes:
            process.join(POLL_S / len(processes))
        failed = [process for process in processes if process.exitcode not in (None, 0)]
        if any(process.exitcode in INTERRUPTED for process in failed):
            raise KeyboardInterrupt
        if failed:
            raise WorkerError(f"a worker of the study ended with code {failed[0].exitcode}; what it said is above")
        told()


def _end(processes: list[SpawnProcess]) -> None:
    """Let workers say what became of their trials, as Ctrl-C reached them too; end those that do not."""
    for process in processes:
        process.join(PATIENCE_S / len(processes))
        if process.is_alive():
            process.terminate()
            process.join()


def _work(
    left: SimpleQueue[bool],
    rest: Panel,
    values: Path,
    horizon: int,
    configuration: TuneConfiguration,
    directory: Path,
) -> None:
    """One process: its own sampler, the study of all."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    try:
        panel = taken_over(rest, values)
        tracking = Tracking(directory, configuration.experiment)
        study = study_of(panel, configuration, directory, tracking)
        objective = objective_of(study, panel, horizon, configuration, tracking)
        while left.get():
            study.optimize(objective, n_trials=1)
    except KeyboardInterrupt:
        raise SystemExit(LEFT) from None
