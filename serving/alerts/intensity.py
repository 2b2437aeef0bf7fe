"""What detectors look at: how much of each resource one run of an operation uses, window by window."""

from __future__ import annotations

import polars as pl

from serving.alerts.anomaly import EVERYONE

MAIN_RESOURCE = {
    "CPU_INSTRUCTION": "cpu_cycles",
    "MEMORY_READ": "memory_bytes",
    "MEMORY_WRITE": "memory_bytes",
    "MEMORY_ALLOC": "memory_bytes",
    "NETWORK_SEND": "network_bytes",
    "NETWORK_RECEIVE": "network_bytes",
    "DISK_READ": "disk_bytes",
    "DISK_WRITE": "disk_bytes",
    "WAIT": "execution_time_ms",
    "GPU_COMPUTE": "execution_time_ms",
}
"""The resource by which each micro-operation is judged."""

EXECUTIONS = "executions"


def intensities(windows: pl.DataFrame) -> pl.DataFrame:
    """Usage a run by (window_start, user_id, operation_id, micro_operation_type): columns value, total, runs, resource.

    Every user has rows, and `EVERYONE` has rows with all users together. Operations without a finished run in a window
    have none for it: how long a run takes is not a matter of the window's edges.
    """
    keys = ["window_start", "user_id", "operation_id"]
    both = pl.concat([windows, windows.with_columns(pl.lit(EVERYONE).alias("user_id"))])
    runs = both.filter(pl.col("meter") == EXECUTIONS).group_by(keys).agg(pl.col("units").sum().alias("runs"))
    resource = pl.col("micro_operation_type").replace_strict(MAIN_RESOURCE, default=None)
    judged = both.with_columns(resource.alias("resource")).filter(pl.col("resource").is_not_null())
    amounts = {name: pl.col(name).cast(pl.Float64) for name in set(MAIN_RESOURCE.values())}
    value = pl.coalesce(pl.when(pl.col("resource") == name).then(amount) for name, amount in amounts.items())
    sums = judged.group_by(*keys, "micro_operation_type", "resource").agg(value.sum().alias("total"))
    joined = sums.join(runs.filter(pl.col("runs") > 0), on=keys, how="inner")
    return joined.with_columns((pl.col("total") / pl.col("runs")).alias("value")).sort(*keys, "micro_operation_type")
