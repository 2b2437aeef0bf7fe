"""Windows of usage as the columns that paths are priced by: one a micro-operation and resource."""

from __future__ import annotations

import polars as pl

from features.windows import KEYS, RESOURCES
from serving.pricing.paths import UsageColumn

AMOUNTS = ("events", *RESOURCES)


def column_sums(windows: pl.DataFrame, slots: int) -> dict[UsageColumn, list[float]]:
    """By column the sums of each slot; ``windows`` has `features.windows.KEYS`, `AMOUNTS` and ``slot`` in [0, slots).

    Columns without any usage are left out; amounts of several meters of one micro-operation are added up.
    """
    sums = windows.group_by("slot", *KEYS[1:]).agg(pl.col(*AMOUNTS).sum()).sort("slot", *KEYS[1:])
    columns: dict[UsageColumn, list[float]] = {}
    for row in sums.iter_rows(named=True):
        for amount in AMOUNTS:
            if row[amount] and not (amount == "units" and not row["meter"]):
                resource = row["meter"] if amount == "units" else amount
                column = UsageColumn(row["operation_id"], row["micro_operation_type"], resource)
                columns.setdefault(column, [0.0] * slots)[row["slot"]] += row[amount]
    return {column: [round(value, 6) for value in values] for column, values in columns.items()}
