"""What detectors look at: how much of each resource one run of an operation uses, and what runs and windows cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal

import polars as pl

from serving.alerts.anomaly import EVERYONE, SPEND, SPEND_A_RUN, WHOLE

Price = Callable[[str, Mapping[tuple[str, str], float]], tuple[Decimal, str]]
"""(operation, excess by (micro-operation type, resource)) -> amount and currency."""

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
"""The resource by which each micro-operation is judged; CUSTOM ones are judged by their units, meter by meter."""

EXECUTIONS = "executions"
LOT = 1e9
"""So many units are priced at once to find the price of one: a single one may cost less than money can say."""


class Rates:
    """Marginal prices of one unit by (operation, micro-operation type, resource), asked for once each."""

    def __init__(self, price: Price) -> None:
        self._price = price
        self._known: dict[tuple[str, str, str], float] = {}
        self.currency = ""

    @property
    def known(self) -> Mapping[tuple[str, str, str], float]:
        """All that were asked for."""
        return self._known

    def of(self, operation: str, micro: str, resource: str) -> float:
        """The price of one unit, as a float: for detection, not for bills."""
        key = (operation, micro, resource)
        if key not in self._known:
            amount, self.currency = self._price(operation, {(micro, resource): LOT})
            self._known[key] = float(amount) / LOT
        return self._known[key]


def intensities(windows: pl.DataFrame) -> pl.DataFrame:
    """Usage a run by (window_start, user_id, operation_id, micro_operation_type): columns value, total, runs, resource.

    Every user has rows, and `EVERYONE` has rows with all users together. Operations without a finished run in a window
    have none for it: how long a run takes is not a matter of the window's edges.
    """
    keys, lazy = ["window_start", "user_id", "operation_id"], windows.lazy()
    both = pl.concat([lazy, lazy.with_columns(pl.lit(EVERYONE).alias("user_id"))])
    runs = both.filter(pl.col("meter") == EXECUTIONS).group_by(keys).agg(pl.col("units").sum().alias("runs"))
    sums = _amounts(both).group_by(*keys, "micro_operation_type", "resource").agg(pl.col("total").sum())
    joined = sums.join(runs.filter(pl.col("runs") > 0), on=keys, how="inner")
    return (
        joined.with_columns((pl.col("total") / pl.col("runs")).alias("value"))
        .sort(*keys, "micro_operation_type")
        .collect()
    )


def spends(windows: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    """What was spent, at marginal prices: a run of each operation, a window of each operation, user, and of all."""
    totals = _amounts(windows.lazy()).group_by(
        "window_start", "user_id", "operation_id", "micro_operation_type", "resource"
    )
    sums = totals.agg(pl.col("total").sum()).collect()
    kinds = sums.select("operation_id", "micro_operation_type", "resource").unique()
    priced = kinds.with_columns(pl.Series("rate", [rates.of(*row) for row in kinds.iter_rows()], dtype=pl.Float64))
    money = (
        sums.lazy()
        .join(priced.lazy(), on=["operation_id", "micro_operation_type", "resource"])
        .with_columns((pl.col("total") * pl.col("rate")).alias("amount"))
    )
    everyone = money.with_columns(pl.lit(EVERYONE).alias("user_id"))
    whole = pl.lit(WHOLE).alias("operation_id")
    runs = (
        windows.lazy().filter(pl.col("meter") == EXECUTIONS).select("window_start", "user_id", "operation_id", "units")
    )
    runs = pl.concat([runs, runs.with_columns(pl.lit(EVERYONE).alias("user_id"))])
    keys = ["window_start", "user_id", "operation_id"]
    a_run = pl.concat([money, everyone]).group_by(keys).agg(pl.col("amount").sum())
    a_run = a_run.join(runs.group_by(keys).agg(pl.col("units").sum().alias("runs")), on=keys)
    a_run = a_run.filter(pl.col("runs") > 0).with_columns(value=pl.col("amount") / pl.col("runs"))
    a_window = pl.concat([money, money.with_columns(whole), everyone.with_columns(whole)])
    a_window = a_window.group_by(keys).agg(pl.col("amount").sum().alias("value"))
    both = pl.concat(
        [
            a_run.select(*keys, "value", "runs", pl.lit(SPEND_A_RUN).alias("resource")),
            a_window.select(*keys, "value", pl.lit(1.0).alias("runs"), pl.lit(SPEND).alias("resource")),
        ]
    )
    return both.with_columns(pl.lit(WHOLE).alias("micro_operation_type")).collect()


def _amounts(windows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows with the resource that each is judged by and its total; rows that are judged by none are left out."""
    micro = pl.col("micro_operation_type")
    is_custom = (micro == "CUSTOM") & (pl.col("meter") != "")
    resource = pl.when(is_custom).then(pl.col("meter")).otherwise(micro.replace_strict(MAIN_RESOURCE, default=None))
    judged = windows.with_columns(resource.alias("resource")).filter(pl.col("resource").is_not_null())
    amounts = {name: pl.col(name).cast(pl.Float64) for name in set(MAIN_RESOURCE.values())}
    fixed = pl.coalesce(pl.when(pl.col("resource") == name).then(amount) for name, amount in amounts.items())
    return judged.with_columns(pl.when(is_custom).then(pl.col("units")).otherwise(fixed).alias("total"))
