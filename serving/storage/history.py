"""History: what was used, window by window, for readers beside the engine."""

from __future__ import annotations

import polars as pl

from features.database import Location, Readers
from features.planned_events import Entry, entries
from features.stored_windows import WindowsReader, create


class History:
    """Reads windows of a data directory's database; usable from several threads while the engine writes."""

    def __init__(self, location: Location) -> None:
        """Open the database; its tables are made where they are missing."""
        self.location = location
        self._readers = Readers.of(location)
        self._reader = WindowsReader()
        create(self._readers.get())

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
        return self._reader.windows(self._readers.get(), window_s, start_ns, end_ns, **keys)

    def planned(self) -> list[Entry]:
        """Entries of the calendar of planned events."""
        return entries(self._readers.get())

    def totals(self, window_s: int, start_ns: int, end_ns: int, user: str | None = None) -> pl.DataFrame:
        """Sums over [start_ns, end_ns) by user, operation, micro-operation and meter, from windows of one length."""
        return self._reader.totals(self._readers.get(), window_s, start_ns, end_ns, user)

    def common_operations(self, users: int) -> frozenset[str]:
        """Operations that at least so many users ever used."""
        return self._reader.common_operations(self._readers.get(), users)

    def users(self) -> list[str]:
        """Everyone who ever used anything, sorted."""
        return self._reader.users(self._readers.get())
