"""The live counterpart of `features.table`: the same numbers, one closed window after the other, from a small state."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.calendar import with_calendar
from features.demand import SYSTEM, system_demand
from features.past import check_lags, past_columns
from features.series import all_series
from features.table import FeatureSettings
from features.windows import SCHEMA


class LiveFeatures:
    """Keeps the last values of every series that was ever used; a row costs the same however long the history is.

    A series has rows from its first use on. `feature_table` over the same windows also has rows before that, with
    the value 0, as it knows what is to come; all others are equal bit for bit.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        """Raises ValueError for lags that would look ahead."""
        self._settings = settings
        self._reach = check_lags(settings.lags, settings.rolling)
        self._rows: dict[str, int] = {}
        self._about: list[tuple[str, str, str]] = []
        self._past = np.full((0, self._reach), np.nan)
        self._next_ns: int | None = None
        self._windows = 0
        self._system: tuple[float | None, ...] = (None,) * len(SYSTEM)

    def closed(self, windows: pl.DataFrame) -> pl.DataFrame:
        """Take in windows that closed (columns of `features.windows.SCHEMA`), in the order of time; their features.

        Windows without any usage between those given count as zeros. Raises ValueError for one that is not after those
        taken in before.
        """
        found = []
        by_start = windows.with_columns(pl.col("window_start").cast(pl.Int64)).partition_by(
            "window_start", as_dict=True
        )
        for (start_ns,), rows in sorted(by_start.items()):
            if self._next_ns is not None and start_ns < self._next_ns:
                raise ValueError(
                    f"window {start_ns} comes after {self._next_ns}; give closed windows in order, each once"
                )
            while self._next_ns is not None and self._next_ns < start_ns:
                found.append(self._take_in(self._next_ns, rows.clear()))
            found.append(self._take_in(start_ns, rows))
        return pl.concat(found) if found else pl.DataFrame()

    def _take_in(self, start_ns: int, rows: pl.DataFrame) -> pl.DataFrame:
        rows = rows.with_columns(pl.col("window_start").cast(SCHEMA["window_start"]))
        used = all_series(rows, self._settings.window_ns)
        self._add(used)
        values = np.zeros(len(self._about))
        values[[self._rows[name] for name in used["series"]]] = used["value"].to_numpy()
        frame = self._frame(start_ns, values)
        self._past = np.concatenate([self._past[:, 1:], values[:, None]], axis=1)
        demand = system_demand(rows, self._settings.window_ns)
        self._system = demand.select(SYSTEM).row(0) if demand.height else (0.0,) * len(SYSTEM)
        self._next_ns, self._windows = start_ns + self._settings.window_ns, self._windows + 1
        return frame

    def _add(self, used: pl.DataFrame) -> None:
        new = used.filter(~pl.col("series").is_in(list(self._rows))).select("series", "tenant", "resource").rows()
        past = np.full((len(new), self._reach), np.nan)
        past[:, max(0, self._reach - self._windows) :] = 0.0  # what was not recorded was not used
        self._past = np.concatenate([self._past, past])
        self._rows |= {about[0]: len(self._about) + place for place, about in enumerate(new)}
        self._about += new

    def _frame(self, start_ns: int, values: NDArray[np.float64]) -> pl.DataFrame:
        stamp = pl.lit(start_ns).cast(SCHEMA["window_start"]).alias("timestamp")
        about = pl.DataFrame(
            self._about, schema=dict.fromkeys(("series", "tenant", "resource"), pl.String()), orient="row"
        )
        columns: Mapping[str, NDArray[np.float64]] = past_columns(
            self._past, self._settings.lags, self._settings.rolling
        )
        features = pl.DataFrame(dict(columns)).fill_nan(None)
        before = [
            pl.lit(value, pl.Float64()).alias(f"{name}_lag_1") for name, value in zip(SYSTEM, self._system, strict=True)
        ]
        frame = about.with_columns(stamp, pl.Series("value", values), *features.get_columns(), *before)
        return with_calendar(frame, time_zone=self._settings.time_zone, holidays=self._settings.holidays).sort("series")
