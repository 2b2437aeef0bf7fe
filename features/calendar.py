"""Calendar features: what the clock says about a window, for models and for looking."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import polars as pl


def with_calendar(
    frame: pl.DataFrame, column: str = "timestamp", time_zone: str = "UTC", holidays: Collection[date] = ()
) -> pl.DataFrame:
    """The frame with `hour`, `weekday` (Monday = 1), `is_weekend` and `is_holiday` of a time column, in a time zone.

    Local time is used throughout, so that days of 23 and 25 hours are right. Naive times are taken as UTC.
    """
    stamp = pl.col(column)
    if getattr(frame.schema[column], "time_zone", None) is None:
        stamp = stamp.dt.replace_time_zone("UTC")
    local = stamp.dt.convert_time_zone(time_zone)
    return frame.with_columns(
        local.dt.hour().alias("hour"),
        local.dt.weekday().alias("weekday"),
        (local.dt.weekday() >= 6).alias("is_weekend"),
        local.dt.date().is_in(list(holidays)).alias("is_holiday"),
    )
