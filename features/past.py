"""What was known before a window, as numbers: the one arithmetic of lags and rolling statistics, in batch and live."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def check_lags(lags: Sequence[int], rolling: Sequence[int]) -> int:
    """The reach of lags and rolling widths, in windows; raises ValueError for one below 1, which would look ahead."""
    bad = [lag for lag in (*lags, *rolling) if lag < 1]
    if bad:
        raise ValueError(f"lag {bad[0]} would look at the window itself or ahead; use 1 or more")
    return max((*lags, *rolling), default=1)


def past_columns(
    past: NDArray[np.float64], lags: Sequence[int], rolling: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Columns `lag_K`, `mean_K`, `std_K` (of a sample) and `median_K`, each of shape (n,); NaN where unknown.

    ``past`` has shape (n, reach): the values of the windows before each of n windows, the latest last, NaN before the
    first. Every row is computed alone, so that a number does not depend on how many rows are asked for at once.
    """
    columns = {f"lag_{lag}": past[:, -lag] for lag in lags}
    for width in rolling:
        values = np.ascontiguousarray(past[:, -width:])
        mean = values.sum(axis=1) / width
        away = values - mean[:, None]
        columns[f"mean_{width}"] = mean
        columns[f"std_{width}"] = np.sqrt((away * away).sum(axis=1) / (width - 1)) if width > 1 else mean * np.nan
        columns[f"median_{width}"] = np.median(values, axis=1)
    return columns
