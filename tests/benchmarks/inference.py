"""How long a forecast takes on one core: 1,000 series a week of hours ahead, and one user's 20 with 1,000 sample paths.

CPU seconds of the best of a few calls; what a model was trained for does not matter to its speed, so it is trained on
made-up usage for a few steps. Ratios are to seasonal naive, measured in the same run. All are asked for series they
have never seen, and after one more window has ended, as a server is: some learn as windows end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import numpy as np

from models.contracts import Forecaster
from models.forecasters.lstm import LstmConfig
from models.forecasters.registry import FORECASTERS
from models.panel import Panel
from models.weighted import _kernels
from training.fit import fit_forecaster
from training.threads import few_threads

HORIZON, DAYS, SEASON = 168, 28, 24
CALLS = 3


def main() -> int:
    """Print one JSON object a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="repeatable (default: this project's)")
    parser.add_argument("--series", type=int, default=1_000)
    args = parser.parse_args()
    many, one = usage(args.series, 100), usage(20, 1)
    yardstick_s = 0.0
    names = args.model or ["markov", "lstm", "ensemble"]
    for name in ["seasonal-naive", *(name for name in names if name != "seasonal-naive")]:
        if name not in FORECASTERS:
            print(f"skipped: {name} is not installed", file=sys.stderr)
            continue
        model = fit_forecaster(name, usage(60, 6), HORIZON, LstmConfig(steps=20))
        with few_threads():
            whole_s = cpu_s(lambda m=model: type(m).restore(m.state()).forecast(many, HORIZON))
            next_s = next_window_s(model, many)
            bill_s = cpu_s(lambda m=model: m.paths(one, HORIZON, 1_000, seed=1))
        yardstick_s = yardstick_s or whole_s
        row = {"model": name, "cpu_s": round(whole_s, 3), "cpu_s of the next window": round(next_s, 3)}
        row |= {"over seasonal naive": round(whole_s / yardstick_s, 1)}
        row |= {"cpu_s of one bill": round(bill_s, 3), "compiled": _kernels is not None}
        print(json.dumps(row), flush=True)
    return 0


def usage(series: int, tenants: int) -> Panel:
    """Daily rhythms with noise; a tenth of the series is mostly off, a tenth has stopped."""
    random = np.random.default_rng(7)
    time_h = np.arange(DAYS * SEASON)
    rhythm = 1.2 + np.sin(2 * np.pi * (time_h / SEASON + random.random((series, 1))))
    values = random.lognormal(3.0, 1.0, (series, 1)) * rhythm * random.gamma(4.0, 0.25, rhythm.shape)
    values[::10] *= random.random(values[::10].shape) < 0.1
    values[5::10, -72:] = 0.0
    names = tuple(f"t{row % tenants}|op{row}|CPU_INSTRUCTION|cpu_cycles" for row in range(series))
    owners = tuple(f"t{row % tenants}" for row in range(series))
    return Panel(names, owners, ("cpu_cycles",) * series, values, 0, 3_600_000_000_000, SEASON)


def next_window_s(model: Forecaster, panel: Panel) -> float:
    """CPU seconds of the quickest of some forecasts, each a window after the one before."""
    first = panel.windows - CALLS
    model.forecast(panel.until(first), HORIZON)
    best = float("inf")
    for windows in range(first + 1, panel.windows + 1):
        started = time.process_time()
        model.forecast(panel.until(windows), HORIZON)
        best = min(best, time.process_time() - started)
    return best


def cpu_s(call: Callable[[], object]) -> float:
    """CPU seconds of the quickest of some calls, after one that warms up."""
    call()
    best = float("inf")
    for _ in range(CALLS):
        started = time.process_time()
        call()
        best = min(best, time.process_time() - started)
    return best


if __name__ == "__main__":
    sys.exit(main())
