"""History: what was used, window by window, for readers beside the engine."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import polars as pl

from features.stored_windows import WindowsReader, create


class History:
    """Reads windows of a data directory's database; usable from several threads while the engine writes."""

    def __init__(self, path: Path) -> None:
        """Open the database file; it is created, with empty tables, where there is none."""
        self.path = path
        self._local = threading.local()
        self._reader = WindowsReader()
        create(self._connection())

    def windows(
        self,
        window_s: int,
        start_ns: int,
        end_ns: int,
        user: str | None = None,
        operation: str | None = None,
        micro_operation_type: str | None = None,
    ) -> pl.DataFrame:
        """Windows of one length that start in [start_ns, end_ns), by start and key; columns of `windows.SCHEMA`."""
        keys = {"user_id": user, "operation_id": operation, "micro_operation_type": micro_operation_type}
        return self._reader.windows(self._connection(), window_s, start_ns, end_ns, **keys)

    def totals(self, window_s: int, start_ns: int, end_ns: int, user: str | None = None) -> pl.DataFrame:
        """Sums over [start_ns, end_ns) by user, operation, micro-operation and meter, from windows of one length."""
        return self._reader.totals(self._connection(), window_s, start_ns, end_ns, user)

    def users(self) -> list[str]:
        """Everyone who ever used anything, sorted."""
        return self._reader.users(self._connection())

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection: SQLite readers do not wait for the writer in WAL mode."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            self._local.connection = connection
        return connection
