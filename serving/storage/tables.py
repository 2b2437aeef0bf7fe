"""Small tables behind plain SQL that SQLite and PostgreSQL both speak, for stores of money and prices."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from features.sqlite_log import connect

_WRITERS = 7_243_001
"""PostgreSQL's advisory lock of those who write several rows that belong together."""


class Cursor(Protocol):
    """What a connection answers."""

    rowcount: int

    def fetchall(self) -> list[Any]:
        """All rows."""
        ...


class Tables:
    """One database; statements use ``?`` and the types TEXT and BIGINT, so that both databases take them.

    Amounts are kept as text: they are exact, and nothing is summed in SQL.
    """

    def __init__(self, where: Path | str) -> None:
        """A SQLite file, or the URL of a PostgreSQL database; raises what its driver raises."""
        self._lock = threading.RLock()
        self._depth = 0
        self.postgresql = isinstance(where, str) and where.startswith(("postgres://", "postgresql://"))
        self._connection: Any = _postgresql(str(where)) if self.postgresql else connect(Path(where))

    def create(self, *statements: str) -> None:
        """Make tables where they are missing."""
        for statement in statements:
            self.write(statement)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._lock:
            return [tuple(row) for row in self._execute(query, values).fetchall()]

    def write(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Execute one statement, durably, alone or inside `transaction`; returns how many rows it changed."""
        with self._lock:
            return self._execute(statement, values).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything written inside commits together or not at all; one inside another is part of it."""
        with self._lock:
            if self._depth == 0:
                self._execute("BEGIN" if self.postgresql else "BEGIN IMMEDIATE", ())
            self._depth += 1
            try:
                if self.postgresql and self._depth == 1:  # nobody else writes so meanwhile
                    self._execute("SELECT pg_advisory_xact_lock(?)", (_WRITERS,))
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._execute("ROLLBACK", ())
                raise
            self._depth -= 1
            if self._depth == 0:
                self._execute("COMMIT", ())

    def close(self) -> None:
        """Release the database."""
        with self._lock:
            self._connection.close()

    def _execute(self, statement: str, values: Sequence[Any]) -> Cursor:
        text = statement.replace("?", "%s") if self.postgresql else statement
        cursor: Cursor = self._connection.execute(text, tuple(values))
        return cursor


def _postgresql(url: str) -> Any:
    try:
        import psycopg  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError("PostgreSQL needs the driver psycopg; install metercast-platform[postgresql]") from error
    return psycopg.connect(url, autocommit=True)
