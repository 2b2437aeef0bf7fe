"""The one place that chooses an event log by where it lives."""

from __future__ import annotations

from pathlib import Path

from features.contracts import EventLog
from features.database import Location, is_server
from features.sqlite_log import SqliteEventLog


def open_log(location: Location) -> EventLog:
    """The log of a SQLite file or a PostgreSQL server; raises sqlite3.OperationalError or DatabaseError."""
    if is_server(location):
        from features.postgresql_log import PostgresqlEventLog

        return PostgresqlEventLog(str(location))
    return SqliteEventLog(Path(location))
