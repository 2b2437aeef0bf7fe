"""The table that `metercast detect` reads: which columns are series, time and value, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from features.usage_files import UsageFileError, read_table

TIMES = ("timestamp", "time", "ts", "datetime", "date")
"""Columns taken for the time where there is no `timestamp`, in this order; capitals do not matter."""

EPOCHS_US = ((1e11, 1e6), (1e14, 1e3), (1e17, 1.0))
"""Numbers as times: below each size, what makes microseconds of them; seconds (to the year 5138), ms, us, then ns."""

_US = pl.Datetime("us")


def read_series(path: Path) -> pl.DataFrame:
    """Columns series (text), timestamp (datetime, its zone kept), value (float64, null where missing) and row.

    Raises UsageFileError where a column cannot be found, a time is none, or a value is no number.
    """
    frame = read_table(path)
    if not frame.height:
        raise UsageFileError(f"{path} has no rows")
    mark = next((mark for mark in (";", "\t", "|") if mark in frame.columns[0]), None)
    if frame.width == 1 and mark is not None:
        raise UsageFileError(f"{path}: columns are parted by {mark!r}; part them by commas")
    named = {name.lower(): name for name in reversed(frame.columns)}
    stamp = next((named[name] for name in TIMES if name in named), None)
    value = named.get("value") or _only_number(frame, stamp)
    if stamp is None or value is None:
        missing = [name for name, found in (("timestamp", stamp), ("value", value)) if found is None]
        raise UsageFileError(f"{path} lacks {', '.join(missing)}; found {', '.join(frame.columns)}. Rename the column")
    series = pl.col(named["series"]).cast(pl.String) if "series" in named else pl.lit(path.stem)
    columns = [_times(frame[stamp], path).alias("timestamp"), _numbers(frame[value], path).alias("value")]
    return frame.select(series.alias("series"), *columns).with_row_index("row")


def _only_number(frame: pl.DataFrame, stamp: str | None) -> str | None:
    """The one column of numbers, where there is but one."""
    numbers = [name for name, kind in frame.schema.items() if kind.is_numeric() and name not in (stamp, "label")]
    return numbers[0] if len(numbers) == 1 else None


def _times(column: pl.Series, path: Path) -> pl.Series:
    found = column
    if found.dtype == pl.String:
        numbers = found.str.strip_chars().cast(pl.Float64, strict=False)
        found = numbers if numbers.null_count() == column.null_count() else _parsed(found)
    if found.dtype.is_numeric():
        largest = found.cast(pl.Float64).abs().fill_nan(None).max()
        factor = next((factor for size, factor in EPOCHS_US if float(str(largest or 0.0)) < size), 1e-3)
        found = (found.cast(pl.Float64).fill_nan(None) * factor).cast(pl.Int64, strict=False).cast(_US)
    if not isinstance(found.dtype, pl.Datetime | pl.Date):
        raise UsageFileError(f"{path}: timestamps are {column.dtype}; use ISO 8601 or Unix seconds")
    wrong = found.is_null()
    if wrong.any():
        at = wrong.arg_max() or 0
        raise UsageFileError(
            f"{path}: {wrong.sum()} timestamps are no times, the first in row {at + 1}: {column[at]!r}; "
            "use ISO 8601 or Unix seconds"
        )
    return found.cast(_US) if isinstance(found.dtype, pl.Date) else found.dt.cast_time_unit("us")


def _parsed(column: pl.Series) -> pl.Series:
    """Times of texts, null where one is none; such with a zone are brought to UTC."""
    try:
        return column.str.to_datetime(time_unit="us", strict=False)
    except pl.exceptions.ComputeError:  # of no format that polars knows
        return pl.Series(column.name, [None] * len(column), dtype=_US)


def _numbers(column: pl.Series, path: Path) -> pl.Series:
    if column.dtype == pl.String:
        column = column.str.strip_chars().replace("", None)
    numbers = column.cast(pl.Float64, strict=False) if not column.dtype.is_nested() else column.cast(pl.Null)
    wrong = numbers.is_null() & column.is_not_null()
    if wrong.any():
        at = wrong.arg_max() or 0
        raise UsageFileError(
            f"{path}: {wrong.sum()} values are no numbers, the first in row {at + 1}: {column[at]!r}; "
            "leave missing ones empty"
        )
    return numbers
