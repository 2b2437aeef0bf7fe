"""Windows: sums of usage per user, operation, micro-operation and meter over equal spans of event time."""

from __future__ import annotations

import polars as pl

KEYS = ("user_id", "operation_id", "micro_operation_type", "meter")
"""What a window is kept for, beside its start."""

RESOURCES = ("cpu_cycles", "memory_bytes", "network_bytes", "disk_bytes", "execution_time_ms", "units")
"""The summed columns of events."""

RETRACTION = "retraction-"
"""How the producer of a batch begins whose rows take events back (`features.retracted`)."""

SCHEMA: dict[str, pl.DataType] = {
    "window_start": pl.Datetime("ns", "UTC"),
    "user_id": pl.String(),
    "operation_id": pl.String(),
    "micro_operation_type": pl.String(),
    "meter": pl.String(),
    "events": pl.Int64(),
    "cpu_cycles": pl.Int64(),
    "memory_bytes": pl.Int64(),
    "network_bytes": pl.Int64(),
    "disk_bytes": pl.Int64(),
    "execution_time_ms": pl.Float64(),
    "units": pl.Float64(),
}
"""Columns and types of a frame of windows."""


def aggregate(events: pl.DataFrame | pl.LazyFrame, window_ns: int) -> pl.DataFrame:
    """Sum events (columns of `features.schema.ARROW_SCHEMA`) into windows; rows sorted by start and key.

    A window of start s holds the events with s <= timestamp < s + window_ns; retracted ones count for nothing. Raises
    ValueError for a window <= 0.
    """
    if window_ns <= 0:
        raise ValueError(f"a window of {window_ns} ns; it must be positive")
    start = pl.col("timestamp").cast(pl.Int64)
    lazy = events.lazy().with_columns((start - start % window_ns).cast(SCHEMA["window_start"]).alias("window_start"))
    return _sum(lazy, _number(lazy))


def merge(windows: pl.DataFrame | pl.LazyFrame, window_ns: int) -> pl.DataFrame:
    """Sum windows into longer ones (a multiple of theirs), or parts of the same windows into one row each."""
    start = pl.col("window_start").cast(pl.Int64)
    lazy = windows.lazy().with_columns((start - start % window_ns).cast(SCHEMA["window_start"]).alias("window_start"))
    return _sum(lazy, pl.col("events").sum())


def _sum(lazy: pl.LazyFrame, events: pl.Expr) -> pl.DataFrame:
    keys = ("window_start", *KEYS)
    sums = [_exact(name) if name in ("execution_time_ms", "units") else pl.col(name).sum() for name in RESOURCES]
    frame = lazy.group_by(keys).agg(events.alias("events"), *sums).sort(keys)
    frame = frame.filter(pl.any_horizontal(pl.col("events", *RESOURCES) != 0))  # wholly retracted is as if never used
    return frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).collect()


def _number(events: pl.LazyFrame) -> pl.Expr:
    """How many events there are; one that takes another back is one less."""
    if "producer" not in events.collect_schema():
        return pl.len()
    less = pl.col("producer").str.starts_with(RETRACTION).sum().cast(pl.Int64)
    return pl.len().cast(pl.Int64) - 2 * less


def _exact(name: str) -> pl.Expr:
    """A sum on a grid of 1e-6: below 2^33 it is the same whatever the order and grouping of the addends."""
    return pl.col(name).round(6).sum().round(6)


def empty() -> pl.DataFrame:
    """A frame of windows without rows."""
    return pl.DataFrame(schema=SCHEMA)
