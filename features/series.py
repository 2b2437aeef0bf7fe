"""From windows to series: one row of numbers per user, operation, micro-operation and resource."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

COUNTED = ("cpu_cycles", "memory_bytes", "network_bytes", "disk_bytes", "execution_time_ms", "events")
"""Resources that every window has; the sixth column, units, is named by the meter instead."""

SEPARATOR = "|"


def to_series(windows: pl.DataFrame, resource: str, window_ns: int) -> pl.DataFrame:
    """The series of one resource: columns (series, tenant, resource, timestamp, value), zero where nothing was used.

    ``resource`` is one of `COUNTED` or the name of a meter. A series is named
    ``user|operation|micro-operation type|resource``; it spans the windows from the first to the last of the frame.
    Series that are zero throughout are left out.
    """
    rows = windows if resource in COUNTED else windows.filter(pl.col("meter") == resource)
    amount = pl.col(resource if resource in COUNTED else "units")
    # Meters of one window are summed exactly, so that batch and live find the same number.
    value = amount.round(6).sum().round(6) if windows.schema[amount.meta.output_name()].is_float() else amount.sum()
    key = pl.concat_str("user_id", "operation_id", "micro_operation_type", pl.lit(resource), separator=SEPARATOR).alias(
        "series"
    )
    sums = (
        rows.with_columns(key)
        .group_by("series", "user_id", "window_start")
        .agg(value.cast(pl.Float64).alias("value"))
        .filter(pl.col("value").sum().over("series") > 0)
    )
    return _filled(sums, windows, window_ns).select(
        "series",
        pl.col("user_id").alias("tenant"),
        pl.lit(resource).alias("resource"),
        pl.col("window_start").alias("timestamp"),
        "value",
    )


def all_series(windows: pl.DataFrame, window_ns: int, wanted: Callable[[str], bool] | None = None) -> pl.DataFrame:
    """The series of every wanted resource and meter, in the columns of `to_series`, sorted by series and time."""
    meters = windows.filter(pl.col("meter") != "")["meter"].unique().sort().to_list()
    resources = [resource for resource in (*COUNTED, *meters) if wanted is None or wanted(resource)]
    parts = [to_series(windows, resource, window_ns) for resource in resources or COUNTED[:1]]
    if not resources:
        return parts[0].clear()
    return pl.concat(parts).sort("series", "timestamp")


def _filled(sums: pl.DataFrame, windows: pl.DataFrame, window_ns: int) -> pl.DataFrame:
    """Rows for every window between the first and the last of the frame; what was not recorded was not used."""
    if sums.is_empty():
        return sums
    starts = windows["window_start"].cast(pl.Int64)
    grid = pl.select(
        pl.int_range(int(starts.min()), int(starts.max()) + 1, window_ns)  # type: ignore[arg-type]
        .cast(windows.schema["window_start"])
        .alias("window_start")
    )
    names = sums.select("series", "user_id").unique()
    full = names.join(grid, how="cross")
    return full.join(sums, on=["series", "user_id", "window_start"], how="left").with_columns(
        pl.col("value").fill_null(0.0)
    )
