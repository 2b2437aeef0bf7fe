"""Panels to learn from: windows of a data directory, or a table of series in a file."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import polars as pl

from features.series import all_series
from features.stored_windows import WindowsReader
from features.usage_files import UsageFileError, read_series
from models.panel import Panel
from training.configuration import DataConfiguration

NANOSECONDS = 1_000_000_000


class NoDataError(ValueError):
    """There is nothing, or too little, to learn from; the message says what is there and what is needed."""


def panel_of(directory: Path, data: DataConfiguration) -> Panel:
    """The panel of the usage file that is asked for, or else of the data directory; raises NoDataError."""
    if data.usage is None:
        return panel_of_directory(directory, data)
    try:
        panel = Panel.from_frame(read_series(data.usage), data.window_s * NANOSECONDS, data.season)
    except (UsageFileError, OSError, ValueError) as error:
        raise NoDataError(f"{data.usage}: {error}") from error
    first = max(0, panel.windows - data.windows)
    last = replace(panel, values=panel.values[:, first:], start_ns=panel.start_ns + first * panel.window_ns)
    return checked(last, str(data.usage))


def panel_of_directory(directory: Path, data: DataConfiguration) -> Panel:
    """The last windows of a platform's data directory as a panel; raises NoDataError when there are too few."""
    database = directory / "metercast.db"
    if not database.is_file():
        raise NoDataError(f"{directory} is no data directory: it has no metercast.db; run `metercast serve` or `demo`")
    windows = _windows(database, data)
    series = all_series(windows, data.window_s * NANOSECONDS) if not windows.is_empty() else windows
    if series.is_empty():
        raise NoDataError(f"{directory} has no closed windows of {data.window_s} s; send events first")
    return checked(Panel.from_frame(series, data.window_s * NANOSECONDS, data.season), str(directory))


def checked(panel: Panel, name: str) -> Panel:
    """The panel itself; raises NoDataError for one of fewer than 16 windows."""
    if panel.windows < 16:
        raise NoDataError(f"{name} has {panel.windows} windows; at least 16 are needed to train and backtest")
    return panel


def _windows(database: Path, data: DataConfiguration) -> pl.DataFrame:
    """Closed windows only: what the engine may still add to would teach that usage falls at the end."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30, isolation_level=None)
    try:
        until = connection.execute(
            "SELECT json_extract(state, '$.closed_until_ns.' || json_quote(CAST(? AS TEXT))) FROM engine",
            (data.window_s,),
        ).fetchone()
        end_ns = int(until[0]) if until and until[0] else 0
        start_ns = end_ns - data.windows * data.window_s * NANOSECONDS
        return WindowsReader().windows(connection, data.window_s, start_ns, end_ns)
    except sqlite3.OperationalError as error:
        raise NoDataError(f"{database} cannot be read: {error}; is it the database of a platform?") from error
    finally:
        connection.close()
