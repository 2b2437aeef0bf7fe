"""Frames of windows as an engine hands them to its hooks."""

from __future__ import annotations

import polars as pl

from features.database import Connection
from features.window_rows import WindowRows
from serving.alerts.hook import DetectionHook
from serving.engine.series_index import SeriesIndex


class Feed:
    """Numbers the series of frames as an engine does, and shows windows to hooks."""

    def __init__(self) -> None:
        self._index = SeriesIndex()

    def close(self, hook: DetectionHook, frame: pl.DataFrame, connection: Connection) -> None:
        """Show windows to a hook and let it write what it found."""
        rows, names = self.numbered(frame)
        hook.closed(hook.window_s, rows, names, connection)
        hook.write(connection)

    def numbered(self, frame: pl.DataFrame) -> tuple[WindowRows, pl.DataFrame]:
        """Windows (columns of `features.windows.SCHEMA`) as numbered rows, and the names of all series so far."""
        rows, self._index = self._index.numbered(frame)
        return rows, self._index.names
