"""One table of features for every series and window: calendar, lags, rolling statistics, demand on the whole system."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from features.calendar import with_calendar
from features.demand import SYSTEM, system_demand
from features.lags import with_lags
from features.series import all_series


@dataclass(frozen=True, slots=True)
class FeatureSettings:
    """Which features: lags and widths of rolling statistics in windows, and the calendar's time zone and holidays."""

    window_ns: int
    lags: tuple[int, ...] = (1, 2, 24)
    rolling: tuple[int, ...] = (24,)
    time_zone: str = "UTC"
    holidays: tuple[date, ...] = ()


def feature_table(windows: pl.DataFrame, settings: FeatureSettings) -> pl.DataFrame:
    """Features of every series (`features.series.all_series`) and window, sorted by series and time.

    Columns series, tenant, resource, timestamp, value; those of `features.calendar` and `features.lags`; and `SYSTEM`
    named ``..._lag_1``, of the window before. Only ``value`` and the calendar are of the window itself.
    """
    series = with_lags(all_series(windows, settings.window_ns), settings.lags, settings.rolling)
    system = system_demand(windows, settings.window_ns)
    before = system.select("timestamp", *(pl.col(name).shift(1).alias(f"{name}_lag_1") for name in SYSTEM))
    joined = series.join(before, on="timestamp", how="left", maintain_order="left")
    return with_calendar(joined, time_zone=settings.time_zone, holidays=settings.holidays)
