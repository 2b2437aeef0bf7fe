"""Where tables live: a SQLite file or a PostgreSQL server, asked in the SQL that both understand."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol
from weakref import WeakValueDictionary

Location = Path | str
"""A SQLite file, or the URL of a PostgreSQL database (``postgresql://user:password@host/name``)."""

_SCHEMES = ("postgresql://", "postgres://")


class DatabaseError(RuntimeError):
    """A PostgreSQL server is away or refuses; SQLite's own errors are those of the standard library."""


DATABASE_ERRORS = (sqlite3.Error, DatabaseError)


class Rows(Protocol):
    """The answer to a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any:
        """The next row, None after the last."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """What the platform asks of a database; values stand as ``?`` or ``:name``, transactions are explicit.

    ``BEGIN IMMEDIATE`` keeps all other writers that begin so out until the end of the transaction.
    """

    def execute(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ..., /) -> Rows:
        """Run one statement."""
        ...

    def executemany(self, query: str, values: Iterable[Sequence[Any]], /) -> Any:
        """Run one statement for each row of values."""
        ...

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        ...

    def close(self) -> None:
        """Release the database."""
        ...


def is_server(location: Location) -> bool:
    """Whether a location is a PostgreSQL server; raises ValueError for text that is neither URL nor path."""
    if isinstance(location, Path):
        return False
    if not location.startswith(_SCHEMES):
        raise ValueError(f"{location.partition('@')[0]!r:.40} is no database; use postgresql://user@host/name")
    return True


def connect(location: Location) -> Connection:
    """A connection that commits durably and waits for other writers instead of failing.

    Raises sqlite3.OperationalError for a file, and DatabaseError for a server, that cannot be opened.
    """
    if is_server(location):
        from features.postgresql import PostgresqlConnection

        return PostgresqlConnection(str(location))
    return connect_file(Path(location))


def connect_for_reading(location: Location) -> Connection:
    """A connection for what only reads: a file is not made, and not written; errors as of `connect`."""
    if is_server(location):
        return connect(location)
    return sqlite3.connect(f"file:{location}?mode=ro", uri=True, timeout=30, isolation_level=None)


def connect_file(path: Path) -> sqlite3.Connection:
    """A connection to a SQLite file (WAL, synchronous=FULL)."""
    connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def tables(connection: Connection) -> frozenset[str]:
    """Names of the tables there are."""
    if isinstance(connection, sqlite3.Connection):
        query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    else:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    return frozenset(str(row[0]) for row in connection.execute(query).fetchall())


class Readers:
    """Connections for readers: one for every thread, shared by all who read the same location."""

    _all: ClassVar[WeakValueDictionary[str, Readers]] = WeakValueDictionary()

    def __init__(self, location: Location) -> None:
        self._location = location
        self._local = threading.local()

    @classmethod
    def of(cls, location: Location) -> Readers:
        """The readers of a location."""
        found = cls._all.get(str(location))
        if found is None:
            found = cls._all[str(location)] = cls(location)
        return found

    def get(self) -> Connection:
        """This thread's connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._location)
        return connection
