"""The table of live accuracy: what the champion's forecasts were worth, by origin and series."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from features.database import Location, Readers

_TABLE = """
    CREATE TABLE IF NOT EXISTS accuracy (
        version TEXT NOT NULL,
        origin_ns INTEGER NOT NULL,
        series TEXT NOT NULL,
        user_id TEXT NOT NULL,
        loss REAL NOT NULL,
        naive REAL,
        PRIMARY KEY (version, origin_ns, series)
    ) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Scaled pinball loss of one series from one origin, and that of repeating its last season."""

    origin_ns: int
    series: str
    user: str
    loss: float
    naive: float | None


class AccuracyStore:
    """Keeps losses in a data directory's database; usable from several threads."""

    def __init__(self, location: Location) -> None:
        """Open the database, making the table where it is missing."""
        self._readers = Readers.of(location)
        self._readers.get().execute(_TABLE)

    def add(self, version: str, rows: Iterable[Measured]) -> None:
        """Keep what was measured; measuring again overwrites."""
        given = [(version, row.origin_ns, row.series, row.user, row.loss, row.naive) for row in rows]
        query = (
            "INSERT INTO accuracy VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (version, origin_ns, series) DO UPDATE SET "
            "user_id = excluded.user_id, loss = excluded.loss, naive = excluded.naive"
        )
        connection = self._readers.get()
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(query, given)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise

    def origins_ns(self, version: str) -> list[int]:
        """Origins of a version that were measured, earliest first."""
        query = "SELECT DISTINCT origin_ns FROM accuracy WHERE version = ? ORDER BY origin_ns"
        return [int(row[0]) for row in self._readers.get().execute(query, (version,))]

    def rows(self, version: str, since_ns: int, user: str | None = None) -> list[Measured]:
        """What was measured of a version from an origin on, of one user or of all."""
        mine, values = ("", ()) if user is None else (" AND user_id = ?", (user,))
        columns = "origin_ns, series, user_id, loss, naive"
        query = f"SELECT {columns} FROM accuracy WHERE version = ? AND origin_ns >= ?{mine}"  # noqa: S608
        return [Measured(*row) for row in self._readers.get().execute(query, (version, since_ns, *values))]

    def keep_only(self, version: str, since_ns: int) -> None:
        """Forget other versions, and origins before a moment."""
        self._readers.get().execute("DELETE FROM accuracy WHERE version != ? OR origin_ns < ?", (version, since_ns))
