"""History: what was used, window by window, for readers beside the engine."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import polars as pl

from serving.storage import window_table


class History:
    """Reads windows of a data directory's database; usable from several threads while the engine writes."""

    def __init__(self, path: Path) -> None:
        """Open the database file; it is created, with an empty table, where there is none."""
        self.path = path
        self._local = threading.local()
        with self._connection() as connection:
            window_table.create(connection)

    def windows(
        self,
        window_s: int,
        start_ns: int,
        end_ns: int,
        user: str | None = None,
        operation: str | None = None,
        micro_operation_type: str | None = None,
    ) -> pl.DataFrame:
        """Windows of one length that start in [start_ns, end_ns), columns of `features.windows.SCHEMA`."""
        filters: list[tuple[str, Any]] = [
            ("user_id", user),
            ("operation_id", operation),
            ("micro_operation_type", micro_operation_type),
        ]
        return window_table.read(self._connection(), window_s, start_ns, end_ns, filters)

    def totals(self, window_s: int, start_ns: int, end_ns: int, user: str | None = None) -> pl.DataFrame:
        """Sums over [start_ns, end_ns) by user, operation, micro-operation and meter, from windows of one length."""
        return window_table.totals(self._connection(), window_s, start_ns, end_ns, user)

    def users(self) -> list[str]:
        """Everyone who ever used anything, sorted."""
        return window_table.users(self._connection())

    def span_ns(self, window_s: int) -> tuple[int, int] | None:
        """Start of the first and end of the last window of one length, or None without any."""
        row = (
            self._connection()
            .execute("SELECT min(window_start_ns), max(window_start_ns) FROM windows WHERE window_s = ?", (window_s,))
            .fetchone()
        )
        return None if row[0] is None else (int(row[0]), int(row[1]) + window_s * 1_000_000_000)

    def _connection(self) -> sqlite3.Connection:
        """This thread's connection: SQLite readers do not wait for the writer in WAL mode."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=30.0, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            self._local.connection = connection
        return connection
