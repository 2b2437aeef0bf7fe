"""How many windows detection takes in a second of CPU: the detectors alone, and the engine's hook with its tables."""

from __future__ import annotations

import sqlite3
import sys
import time

import numpy as np
import polars as pl

from features.windows import SCHEMA
from models.detectors.multi_view_bank import MultiViewBank
from serving.alerts.hook import DetectionHook

SERIES, STEPS = 2_000, 60


def bank_rate() -> float:
    """Windows a CPU-second of the bank, for 2,000 series at once."""
    random = np.random.default_rng(0)
    bank, columns = MultiViewBank(SERIES), np.arange(SERIES)
    values = random.gamma(3.0, 2.0, (STEPS, SERIES))
    started = time.process_time()
    for step in range(STEPS):
        bank.step(columns, values[step], step * 60.0)
    return SERIES * STEPS / (time.process_time() - started)


def hook_rate() -> tuple[float, int]:
    """The same of the hook, intensities, episodes and checkpoints included; and the series it watches."""
    random = np.random.default_rng(0)
    users = [f"user-{index}" for index in range(SERIES // 4)]
    micros = ("CPU_INSTRUCTION", "NETWORK_SEND", "DISK_WRITE")
    base = pl.DataFrame({"user_id": users}).join(pl.DataFrame({"micro_operation_type": micros}), how="cross")
    connection, hook = sqlite3.connect(":memory:", isolation_level=None), DetectionHook(60)
    spent_s, readings = 0.0, 0
    for step in range(STEPS // 3):
        amounts = random.gamma(9.0, 1e5, base.height).astype(np.int64)
        use = base.with_columns(
            cpu_cycles=pl.Series(amounts), network_bytes=pl.Series(amounts), disk_bytes=pl.Series(amounts)
        )
        runs = pl.DataFrame({"user_id": users}).with_columns(
            micro_operation_type=pl.lit("CPU_INSTRUCTION"), meter=pl.lit("executions"), units=pl.lit(10.0)
        )
        rows = pl.concat([use, runs], how="diagonal").with_columns(
            window_start=pl.lit(step * 60_000_000_000), operation_id=pl.lit("checkout"), events=pl.lit(1)
        )
        kinds = {name: kind for name, kind in SCHEMA.items() if name not in rows.columns}
        rows = rows.with_columns([pl.lit(None, kind).alias(name) for name, kind in kinds.items()])
        rows = rows.with_columns(pl.col("meter").fill_null(""), pl.exclude("meter", "window_start").fill_null(0))
        rows = rows.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())
        started = time.process_time()
        connection.execute("BEGIN")
        hook.closed(60, rows, connection)
        hook.write(connection)
        connection.execute("COMMIT")
        spent_s += (time.process_time() - started) if step else 0.0
        readings += (base.height + len(micros)) if step else 0
    return readings / spent_s, base.height + len(micros)


def main() -> int:
    """Print both rates."""
    rate, series = hook_rate()
    print(f"bank of detectors: {bank_rate():,.0f} windows/s of CPU, {SERIES:,} series at once")
    print(f"hook of the engine: {rate:,.0f} windows/s of CPU, {series:,} series at once, checkpoints included")
    return 0


if __name__ == "__main__":
    sys.exit(main())
