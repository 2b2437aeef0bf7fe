"""Demand on the whole system, window by window: how much was asked of it and how busy it was."""

from __future__ import annotations

import numpy as np
import polars as pl

SYSTEM = ("system_events_per_s", "system_load", "system_users")
"""Events a second, seconds of execution a second (how many ran at once, by Little's law), and users who had any."""


def system_demand(windows: pl.DataFrame, window_ns: int) -> pl.DataFrame:
    """Columns timestamp and `SYSTEM` for every window from the first to the last of a frame of windows."""
    # On the grid of `features.windows`, so that the order of the addends changes nothing.
    spent_ms = pl.col("execution_time_ms").round(6).sum().round(6)
    sums = windows.group_by(pl.col("window_start").alias("timestamp")).agg(
        pl.col("events").sum().cast(pl.Float64).alias(SYSTEM[0]),
        spent_ms.alias(SYSTEM[1]),
        pl.col("user_id").n_unique().cast(pl.Float64).alias(SYSTEM[2]),
    )
    if not windows.is_empty():
        start = windows["window_start"].cast(pl.Int64)
        grid = pl.Series("timestamp", np.arange(start.min(), int(start.max()) + 1, window_ns))  # type: ignore[arg-type]
        times = pl.DataFrame([grid.cast(windows.schema["window_start"])])
        sums = times.join(sums, on="timestamp", how="left", maintain_order="left")
    # Polars multiplies many rows by the reciprocal and divides a single one; NumPy always divides.
    seconds = window_ns / 1e9
    events, spent = (sums[name].fill_null(0.0).to_numpy() for name in SYSTEM[:2])
    rates = [pl.Series(SYSTEM[0], events / seconds), pl.Series(SYSTEM[1], spent / 1e3 / seconds)]
    return sums.with_columns(*rates, pl.col(SYSTEM[2]).fill_null(0.0))
