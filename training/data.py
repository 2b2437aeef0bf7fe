"""Panels to learn from: windows of a data directory, or a table of series in a file."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from features.database import DATABASE_ERRORS, Location
from features.usage_files import UsageFileError, scan_series
from models.panel import Panel
from training.configuration import DataConfiguration
from training.mapped_panel import map_panel
from training.window_panel import NANOSECONDS, lengths_of_windows, panel_of_windows

FEWEST_WINDOWS = 16
_FILE = "panel.npy"


class NoDataError(ValueError):
    """There is nothing, or too little, to learn from; the message says what is there and what is needed."""


def panel_of(directory: Path, data: DataConfiguration, database_url: str | None = None) -> Panel:
    """The panel of the usage file that is asked for, or else of the data directory or server; raises NoDataError.

    Its values lie in a memory-mapped file that goes away with it.
    """
    return panel_of_directory(directory, data, database_url) if data.usage is None else panel_of_file(data.usage, data)


def panel_of_file(usage: Path, data: DataConfiguration) -> Panel:
    """The last windows of a table of series (Parquet or CSV); raises NoDataError."""
    try:
        panel = mapped(usage, data.window_s * NANOSECONDS, data.season)
    except UsageFileError as error:
        raise NoDataError(str(error)) from error
    except (OSError, ValueError) as error:
        raise NoDataError(f"{usage}: {error}") from error
    first = max(0, panel.windows - data.windows)
    last = replace(panel, values=panel.values[:, first:], start_ns=panel.start_ns + first * panel.window_ns)
    return checked(last, str(usage))


def mapped(usage: Path, window_ns: int, season: int) -> Panel:
    """All of a table of series; raises UsageFileError or ValueError."""
    with tempfile.TemporaryDirectory(prefix="metercast-panel-") as scratch:
        return map_panel(scan_series(usage), window_ns, season, Path(scratch) / _FILE)


def panel_of_directory(directory: Path, data: DataConfiguration, database_url: str | None = None) -> Panel:
    """The last windows of a platform's data directory, or of its PostgreSQL server; raises NoDataError for too few."""
    database: Location = database_url or directory / "metercast.db"
    name = "the PostgreSQL database" if database_url else str(directory)  # the URL may hold a password
    if isinstance(database, Path) and not database.is_file():
        raise NoDataError(f"{directory} is no data directory: it has no metercast.db; run `metercast serve` or `demo`")
    try:
        with tempfile.TemporaryDirectory(prefix="metercast-panel-") as scratch:
            panel = panel_of_windows(database, data.window_s, data.windows, data.season, Path(scratch) / _FILE)
    except DATABASE_ERRORS as error:
        raise NoDataError(f"{name} cannot be read: {error}; is it the database of a platform?") from error
    if panel is None:
        raise NoDataError(f"{name} has no closed windows of {data.window_s} s; {_others(database)}")
    return checked(panel, name)


def _others(database: Location) -> str:
    """What to do without windows of a length: there are others, or none at all."""
    lengths = [f"{length} s" for length in lengths_of_windows(database)]
    return f"it has windows of {', '.join(lengths)}: set data.window_s" if lengths else "send events first"


def checked(panel: Panel, name: str) -> Panel:
    """The panel itself; raises NoDataError for one of fewer than `FEWEST_WINDOWS` windows."""
    if panel.windows < FEWEST_WINDOWS:
        window_s = panel.window_ns // NANOSECONDS
        raise NoDataError(
            f"{name} has {panel.windows} closed windows of {window_s} s; at least {FEWEST_WINDOWS} are needed to train "
            "and backtest: wait, or choose a shorter data.window_s"
        )
    return panel
