"""Windows of usage as the exact records that pricing takes."""

from __future__ import annotations

from decimal import Decimal

import polars as pl

from features.windows import RESOURCES
from serving.pricing.usage import UsageRecord

_FIELDS = ("cpuCycles", "memoryBytes", "networkBytes", "diskBytes", "executionTimeMs", "units")


def usage_records(windows: pl.DataFrame, window_ns: int) -> list[UsageRecord]:
    """One record a window (columns of `features.windows.SCHEMA`); floats are taken to 6 decimals, integers exactly."""
    rows = windows.with_columns(pl.col("window_start").cast(pl.Int64)).iter_rows(named=True)
    return [
        UsageRecord(
            row["window_start"],
            row["window_start"] + window_ns,
            row["user_id"],
            row["operation_id"],
            row["micro_operation_type"],
            row["meter"],
            {field: _exact(row[name]) for field, name in zip(_FIELDS, RESOURCES, strict=True)}
            | {"events": Decimal(row["events"])},
        )
        for row in rows
    ]


def _exact(value: float) -> Decimal:
    return Decimal(value) if isinstance(value, int) else Decimal(f"{value:.6f}")
