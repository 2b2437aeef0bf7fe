"""The record of administrative acts: who did what to which thing, when; it is only ever added to."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Any

from features.database import Location, connect

_TABLE = """
CREATE TABLE IF NOT EXISTS audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_s REAL NOT NULL,
    actor TEXT NOT NULL,
    act TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Act:
    """One act; ``actor`` is a key's id, `local` or `command line`; ``detail`` never holds a secret."""

    id: int
    at_s: float
    actor: str
    act: str
    subject: str
    detail: dict[str, Any]


class AuditLog:
    """Acts of one data directory."""

    def __init__(self, location: Location) -> None:
        """Open the database, making the table where it is missing."""
        self._lock = threading.Lock()
        self._connection = connect(location)
        self._connection.execute(_TABLE)

    def record(self, actor: str, act: str, subject: str, **detail: Any) -> None:
        """Add an act, durably."""
        row = (time.time(), actor, act, subject, json.dumps(detail))
        with self._lock:
            self._connection.execute(
                "INSERT INTO audit (at_s, actor, act, subject, detail) VALUES (?, ?, ?, ?, ?)", row
            )

    def latest(self, limit: int = 100, before: int | None = None) -> list[Act]:
        """Acts, latest first; those before an id."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT id, at_s, actor, act, subject, detail FROM audit WHERE ? IS NULL OR id < ? "
                "ORDER BY id DESC LIMIT ?",
                (before, before, limit),
            ).fetchall()
        return [Act(row[0], row[1], row[2], row[3], row[4], json.loads(row[5])) for row in rows]

    def close(self) -> None:
        """Release the database."""
        self._connection.close()
