"""Usage from files: events or windows as Parquet, CSV, JSON or NDJSON, and series tables for models."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from features.schema import ARROW_SCHEMA, events_from_json
from features.windows import KEYS, RESOURCES, SCHEMA, aggregate

SERIES_COLUMNS = ("series", "tenant", "resource", "timestamp", "value")
"""Columns of a table of series."""


class UsageFileError(ValueError):
    """A file that cannot be read as usage; the message names it, what was found and what is allowed."""


def read_usage(path: Path, window_ns: int = 1_000_000_000) -> pl.DataFrame:
    """Windows (columns of `features.windows.SCHEMA`) from a file of events or of windows.

    Parquet and CSV hold either (told by `window_start` or `timestamp`); JSON and NDJSON hold events in the wire form
    or windows as objects. Raises UsageFileError for anything else and for negative or missing usage.
    """
    frame = read_table(path)
    if "window_start" in frame.columns:
        return _windows(frame, path)
    if "timestamp" in frame.columns:
        return aggregate(_events(frame, path), window_ns)
    raise UsageFileError(f"{path} has neither `window_start` nor `timestamp`; found {', '.join(frame.columns)}")


def read_series(path: Path) -> pl.DataFrame:
    """A table of series (columns `SERIES_COLUMNS`) from Parquet or CSV, values as float64; raises UsageFileError."""
    frame = read_table(path)
    missing = [name for name in SERIES_COLUMNS if name not in frame.columns]
    if missing:
        raise UsageFileError(f"{path} lacks {', '.join(missing)}; a table of series has {', '.join(SERIES_COLUMNS)}")
    if not frame.schema["timestamp"].is_temporal():
        text = pl.col("timestamp").cast(pl.String)
        moments = text.str.to_datetime(time_unit="ns", time_zone="UTC").dt.replace_time_zone(None)
        try:
            frame = frame.with_columns(moments)
        except pl.exceptions.PolarsError as error:
            seen = frame["timestamp"][0]
            raise UsageFileError(
                f"{path}: timestamps such as {seen!r} cannot be read; write 2026-01-31T13:00:00Z"
            ) from error
    return frame.select(SERIES_COLUMNS).with_columns(pl.col("value").cast(pl.Float64))


def scan_series(path: Path) -> pl.LazyFrame:
    """A table of series as `read_series`, but a Parquet file is only read when and as far as it is asked for."""
    if path.suffix != ".parquet" or not path.is_file():
        return read_series(path).lazy()
    frame = pl.scan_parquet(path)
    try:
        schema = frame.collect_schema()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UsageFileError(f"{path} cannot be read: {error}") from error
    if not all(name in schema for name in SERIES_COLUMNS) or not schema["timestamp"].is_temporal():
        return read_series(path).lazy()
    return frame.select(SERIES_COLUMNS).with_columns(pl.col("value").cast(pl.Float64))


def read_table(path: Path) -> pl.DataFrame:
    """A file as a frame, by its ending; raises UsageFileError when it is missing, damaged or of another kind."""
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".parquet": pl.read_parquet,
        ".csv": _read_csv,
        ".json": _read_json,
        ".ndjson": _read_json,
    }
    reader = readers.get(path.suffix)
    if reader is None:
        raise UsageFileError(f"{path}: {path.suffix or 'no ending'!r} is not known; use {', '.join(readers)}")
    try:
        return reader(path)
    except FileNotFoundError as error:
        raise UsageFileError(f"{path} does not exist") from error
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise UsageFileError(f"{path} cannot be read: {error}") from error


def _read_csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, try_parse_dates=True)


def _read_json(path: Path) -> pl.DataFrame:
    text = path.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines() if line] if path.suffix == ".ndjson" else json.loads(text)
    if isinstance(rows, dict):
        rows = rows.get("events", [rows])
    if rows and "operationID" in rows[0]:
        batch, rejected = events_from_json(rows, path.name, 0, 0, now_s=_latest(rows))
        if rejected:
            raise ValueError(f"row {rejected[0].row}: {rejected[0].reason}")
        return pl.DataFrame(pl.from_arrow(batch))
    return pl.DataFrame(rows, infer_schema_length=None)


def _latest(rows: list[dict[str, object]]) -> float:
    """A file's own clock: its events are checked against the latest of them, not against today."""
    stamps = [row.get("timestamp") for row in rows]
    return max((float(stamp) for stamp in stamps if isinstance(stamp, (int, float))), default=time.time())


def _events(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    names = [*KEYS, *RESOURCES]
    missing = [name for name in names if name not in frame.columns and name != "meter" and name not in RESOURCES]
    if missing:
        raise UsageFileError(f"{path} lacks {', '.join(missing)}; events have {', '.join(ARROW_SCHEMA.names)}")
    zeros = [pl.lit("" if name == "meter" else 0).alias(name) for name in names if name not in frame.columns]
    return _checked(frame.with_columns(zeros), path)


def _windows(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    missing = [name for name in SCHEMA if name not in frame.columns]
    if missing:
        raise UsageFileError(f"{path} lacks {', '.join(missing)}; windows have {', '.join(SCHEMA)}")
    if frame.schema["window_start"] == pl.String():
        frame = frame.with_columns(pl.col("window_start").str.to_datetime(time_unit="ns", time_zone="UTC"))
    elif isinstance(frame.schema["window_start"], pl.Datetime):
        naive = pl.col("window_start").dt.replace_time_zone("UTC")
        aware = frame.schema["window_start"].time_zone is not None
        frame = frame if aware else frame.with_columns(naive)
    text = [pl.col(name).cast(pl.String).fill_null("") for name in KEYS]
    return _checked(frame.with_columns(text), path).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def _checked(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    for name in RESOURCES:
        values = frame[name].cast(pl.Float64)
        if values.null_count() or not (values.is_finite() & (values >= 0)).all():
            raise UsageFileError(f"{path}: column {name} has missing, negative or non-finite usage; correct the file")
    return frame
