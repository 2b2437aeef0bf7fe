"""Lagged and rolling values of series: only what was known before each window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.lib.stride_tricks import sliding_window_view

from features.past import check_lags, past_columns


def with_lags(series: pl.DataFrame, lags: Sequence[int], rolling: Sequence[int] = ()) -> pl.DataFrame:
    """A table of series (columns of `features.series`), sorted, with the columns of `features.past.past_columns`.

    No value of a window enters its own row; null is what was not known yet. Rows must have no holes, as those of
    `features.series` have none. Raises ValueError for a lag below 1, which would be the window itself or its future.
    """
    reach = check_lags(lags, rolling)
    ordered = series.sort("series", "timestamp")
    found = [_of_one(part["value"].to_numpy(), reach, lags, rolling) for part in ordered.partition_by("series")]
    columns = pl.concat(found) if found else _of_one(np.empty(0), reach, lags, rolling)
    return ordered.with_columns(columns.get_columns())


def _of_one(values: np.ndarray, reach: int, lags: Sequence[int], rolling: Sequence[int]) -> pl.DataFrame:
    padded = np.concatenate([np.full(reach, np.nan), values])
    past = sliding_window_view(padded, reach)[: len(values)]
    return pl.DataFrame(past_columns(past, lags, rolling)).fill_nan(None)
