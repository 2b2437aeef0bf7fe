"""How many windows detection takes in a second of CPU: the detectors alone, and the engine's hook with its tables.

What is counted comes after the warm-up, when values are scored and episodes open; every series has a value in each
window.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

from features.database import connect
from features.windows import SCHEMA
from models.detectors.multi_view_bank import MultiViewBank
from models.detectors.views import WARM_UP
from serving.alerts.hook import DetectionHook
from serving.engine.series_index import SeriesIndex

MICROS = ("CPU_INSTRUCTION", "NETWORK_SEND", "DISK_WRITE")
PER_USER = len(MICROS) + 1
"""Series of a user: usage of the micro-operations, and runs."""


def bank_rate(series: int, windows: int) -> float:
    """Windows a CPU-second of the bank, for all series at once."""
    random = np.random.default_rng(0)
    bank, columns = MultiViewBank(series), np.arange(series)
    values = random.gamma(3.0, 2.0, (WARM_UP + windows, series))
    for window in range(WARM_UP):
        bank.step(columns, values[window], window * 60.0)
    started = time.process_time()
    for window in range(WARM_UP, WARM_UP + windows):
        bank.step(columns, values[window], window * 60.0)
    return series * windows / (time.process_time() - started)


def hook_rate(series: int, windows: int, with_money: bool) -> tuple[float, int]:
    """The same of the hook, durable commits included, and the series it watches: of users, of everyone, of money."""
    random, index = np.random.default_rng(0), SeriesIndex()
    users = series // PER_USER
    watched = (users + 1) * len(MICROS) + (3 * users + 2 if with_money else 0)
    spent_s = 0.0
    with tempfile.TemporaryDirectory() as directory:
        connection = connect(Path(directory) / "metercast.db")
        hook = DetectionHook(60, price if with_money else None)
        for window in range(WARM_UP + windows):
            rows, index = index.numbered(usage(users, window, random))
            started = time.process_time()
            hook.closed(60, rows, index.names, connection)
            connection.execute("BEGIN IMMEDIATE")
            hook.write(connection)
            connection.execute("COMMIT")
            spent_s += (time.process_time() - started) if window >= WARM_UP else 0.0
        connection.close()
    return watched * windows / spent_s, watched


def usage(users: int, window: int, random: np.random.Generator) -> pl.DataFrame:
    """A minute of checkouts of all users."""
    base = pl.DataFrame({"user_id": [f"user-{number}" for number in range(users)]})
    use = base.join(pl.DataFrame({"micro_operation_type": MICROS}), how="cross")
    amounts = pl.Series(random.gamma(9.0, 1e5, use.height).astype(np.int64))
    use = use.with_columns(cpu_cycles=amounts, network_bytes=amounts, disk_bytes=amounts, units=0.0, meter=pl.lit(""))
    runs = base.with_columns(micro_operation_type=pl.lit("CPU_INSTRUCTION"), meter=pl.lit("executions"), units=10.0)
    rows = pl.concat([use, runs], how="diagonal").with_columns(
        window_start=pl.lit(window * 60_000_000_000), operation_id=pl.lit("checkout"), events=pl.lit(1)
    )
    missing = [pl.lit(0).alias(name) for name in SCHEMA if name not in rows.columns]
    rows = rows.with_columns(missing).fill_null(0)
    return rows.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def price(_operation: str, excess: Mapping[tuple[str, str], float]) -> tuple[Decimal, str]:
    """A price for everything."""
    return Decimal(f"{sum(excess.values()) * 1e-9:.6f}"), "USD"


def main() -> int:
    """Print the three rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=16_000, help="of the engine (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = {"detectors alone": (bank_rate(args.series, args.windows), args.series)}
    found["hook, usage a run"] = hook_rate(args.series, args.windows, with_money=False)
    found["hook, usage a run and spend"] = hook_rate(args.series, args.windows, with_money=True)
    for name, (rate, series) in found.items():
        figures = {"what": name, "windows_per_cpu_s": round(rate), "series": series}
        print(json.dumps(figures) if args.json else f"{name:30}{rate:12,.0f} windows/s of CPU, {series:,} series")
    return 0


if __name__ == "__main__":
    sys.exit(main())
