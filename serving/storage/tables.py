"""Small tables behind plain SQL, for stores of money and prices, on a SQLite file or a PostgreSQL server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from features.database import Location, Rows, connect


class Tables:
    """One database; statements use ``?`` and the types TEXT and BIGINT, so that both kinds take them.

    Amounts are kept as text: they are exact, and nothing is summed in SQL.
    """

    def __init__(self, location: Location) -> None:
        """Raises sqlite3.OperationalError for a file, and DatabaseError for a server, that cannot be opened."""
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = connect(location)

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
                self._execute("BEGIN IMMEDIATE", ())  # nobody else who begins so writes meanwhile
            self._depth += 1
            try:
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

    def _execute(self, statement: str, values: Sequence[Any]) -> Rows:
        return self._connection.execute(statement, tuple(values))
