"""Windows of usage as the exact records that pricing takes."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from features.windows import RESOURCES
from serving.pricing.usage import UsageRecord, parse_meter

_FIELDS = ("cpuCycles", "memoryBytes", "networkBytes", "diskBytes", "executionTimeMs", "units")


def usage_records(windows: pl.DataFrame, window_ns: int) -> list[UsageRecord]:
    """One record a window (columns of `features.windows.SCHEMA`); floats are taken to 6 decimals, integers exactly.

    A meter ``name{key=value}`` becomes the meter ``name`` with dimensions.
    """
    rows = windows.with_columns(pl.col("window_start").cast(pl.Int64)).iter_rows(named=True)
    names = {meter: parse_meter(meter) for meter in windows["meter"].unique()}
    return [
        UsageRecord(
            row["window_start"],
            row["window_start"] + window_ns,
            row["user_id"],
            row["operation_id"],
            row["micro_operation_type"],
            names[row["meter"]][0],
            {field: _exact(row[name]) for field, name in zip(_FIELDS, RESOURCES, strict=True)}
            | {"events": Decimal(row["events"])},
            names[row["meter"]][1],
        )
        for row in rows
    ]


def _exact(value: float) -> Decimal:
    return Decimal(value) if isinstance(value, int) else Decimal(f"{value:.6f}")
