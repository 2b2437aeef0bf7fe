"""Lagged and rolling values of series: only what was known before each window."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def with_lags(series: pl.DataFrame, lags: Sequence[int], rolling: Sequence[int] = ()) -> pl.DataFrame:
    """A table of series (columns of `features.series`) with `lag_K` and `mean_K`, `std_K` of the K windows before.

    No value of a window enters its own row. Rows must have no holes, as those of `features.series` have none. Raises
    ValueError for a lag below 1, which would be the window itself or its future.
    """
    bad = [lag for lag in (*lags, *rolling) if lag < 1]
    if bad:
        raise ValueError(f"lag {bad[0]} would look at the window itself or ahead; use 1 or more")
    before = pl.col("value").shift(1)
    columns = [pl.col("value").shift(lag).over("series").alias(f"lag_{lag}") for lag in lags]
    for width in rolling:
        columns.append(before.rolling_mean(width).over("series").alias(f"mean_{width}"))
        columns.append(before.rolling_std(width).over("series").alias(f"std_{width}"))
    return series.sort("series", "timestamp").with_columns(columns)
