"""Forecasts from many origins: in processes side by side where that pays, kept one by one so that they are not lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from models.bundle import load, save
from models.contracts import Forecast, Forecaster
from models.panel import Panel
from training.mapped_panel import handed_over, taken_over
from training.partial import Partial
from training.threads import few_threads

WORTH_S = 20.0
"""Other processes are started where the origins left would take longer than this here: each needs seconds to start."""

Told = Callable[[int], None]
"""Called with how many origins are done."""


def forecast_origins(
    model: Forecaster,
    panel: Panel,
    cuts: Sequence[int],
    horizon: int,
    workers: int | None = None,
    kept: Partial | None = None,
    told: Told = lambda _done: None,
) -> tuple[list[Forecast], float]:
    """Forecasts from every cut and the seconds of computing they took, over all processes.

    ``workers`` None uses as many processes as there are processors where that pays, 1 none. ``kept`` holds what an
    earlier run that was stopped has done, and takes what this one does.
    """
    found = {cut: forecast for cut in cuts if kept is not None and (forecast := kept.forecast(cut)) is not None}
    spent_s = 0.0

    def take(cut: int, forecast: Forecast, seconds: float) -> None:
        nonlocal spent_s
        spent_s += seconds
        found[cut] = forecast
        if kept is not None:
            kept.keep(cut, forecast)
        told(len(found))

    told(len(found))
    left = [cut for cut in cuts if cut not in found]
    if left and workers in (None, 1):
        take(left[0], *_timed(model, panel, left[0], horizon))
        left = left[1:]
    processes = min(workers or os.cpu_count() or 1, len(left))
    if processes > 1 and (workers is not None or spent_s * len(left) > WORTH_S):
        _side_by_side(model, panel, left, horizon, processes, take)
    else:
        for cut in left:
            take(cut, *_timed(model, panel, cut, horizon))
    return [found[cut] for cut in cuts], spent_s


def _timed(model: Forecaster, panel: Panel, cut: int, horizon: int) -> tuple[Forecast, float]:
    started = time.perf_counter()
    with few_threads():
        forecast = model.forecast(panel.until(cut), horizon)
    return forecast, time.perf_counter() - started


def _side_by_side(
    model: Forecaster,
    panel: Panel,
    cuts: Sequence[int],
    horizon: int,
    processes: int,
    take: Callable[[int, Forecast, float], None],
) -> None:
    """The model goes to the processes as its bundle and the values as a file that all of them map."""
    with tempfile.TemporaryDirectory(prefix="metercast-backtest-") as scratch:
        bundle, values = Path(scratch) / "model", Path(scratch) / "values.npy"
        save(model, bundle, {})
        rest = handed_over(panel, values)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, context, _begin, (bundle, values, rest)) as pool:
            jobs = {pool.submit(_forecast, cut, horizon): cut for cut in cuts}
            try:
                for job in as_completed(jobs):
                    take(jobs[job], *job.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in multiprocessing.active_children():
                    process.terminate()
                raise


_process: dict[str, tuple[Forecaster, Panel]] = {}


def _begin(bundle: Path, values: Path, rest: Panel) -> None:
    """What a process does once: leave interrupts to the process that started it, load the model, map the values."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _process["work"] = load(bundle)[0], taken_over(rest, values)


def _forecast(cut: int, horizon: int) -> tuple[Forecast, float]:
    model, panel = _process["work"]
    return _timed(model, panel, cut, horizon)
