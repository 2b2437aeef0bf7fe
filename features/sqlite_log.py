"""The embedded event log: one SQLite row per batch, durable before it is acknowledged."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from features.contracts import Batch, LoggedBatch, Outcome
from features.stored_rows import decode, encode

_TABLE = """
CREATE TABLE IF NOT EXISTS log (
    log_offset INTEGER PRIMARY KEY AUTOINCREMENT,
    producer TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    received_ns INTEGER NOT NULL,
    events INTEGER NOT NULL,
    digest BLOB NOT NULL,
    body BLOB NOT NULL,
    sent BLOB,
    UNIQUE (producer, epoch, sequence)
)
"""
# `sent` is the checksum of a batch as it came, kept where rows were erased from it, so that sending it again counts as
# a duplicate still.


class SqliteEventLog:
    """An `EventLog` in a SQLite file (WAL, synchronous=FULL); usable from several threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open or create the log; raises sqlite3.OperationalError when the file cannot be opened."""
        self._lock = threading.Lock()
        self._connection = connect(path)
        with self._connection:
            self._connection.execute(_TABLE)
            if not any(row[1] == "sent" for row in self._connection.execute("PRAGMA table_info(log)")):
                self._connection.execute("ALTER TABLE log ADD COLUMN sent BLOB")

    def append(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Make the batches durable in one transaction; same key and body: DUPLICATE, same key only: CONFLICT."""
        prepared = [(batch, *encode(batch.rows)) for batch in batches]
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                outcomes = [self._append_one(batch, body, digest) for batch, body, digest in prepared]
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
        return outcomes

    def _append_one(self, batch: Batch, body: bytes, digest: bytes) -> Outcome:
        key = (batch.producer, batch.epoch, batch.sequence)
        found = self._connection.execute(
            "SELECT coalesce(sent, digest) FROM log WHERE producer = ? AND epoch = ? AND sequence = ?", key
        ).fetchone()
        if found is not None:
            return Outcome.DUPLICATE if found[0] == digest else Outcome.CONFLICT
        self._connection.execute(
            "INSERT INTO log (producer, epoch, sequence, received_ns, events, digest, body) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*key, time.time_ns(), batch.rows.num_rows, digest, body),
        )
        return Outcome.ACCEPTED

    def read(self, after_offset: int, limit: int) -> list[LoggedBatch]:
        """The next batches after an offset (0 = from the start), at most ``limit``.

        Raises CorruptBatchError when a stored body no longer matches its checksum.
        """
        with self._lock:
            rows = self._connection.execute(
                "SELECT log_offset, received_ns, producer, epoch, sequence, digest, body FROM log "
                "WHERE log_offset > ? ORDER BY log_offset LIMIT ?",
                (after_offset, limit),
            ).fetchall()
        return [_logged(row) for row in rows]

    def last_offset(self) -> int:
        """Offset of the newest batch, 0 when empty."""
        with self._lock:
            row = self._connection.execute("SELECT max(log_offset) FROM log").fetchone()
        return int(row[0] or 0)

    def events(self) -> int:
        """How many events the log holds."""
        with self._lock:
            row = self._connection.execute("SELECT sum(events) FROM log").fetchone()
        return int(row[0] or 0)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """A connection that commits durably and waits for other writers instead of failing; transactions are explicit."""
    connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _logged(row: tuple[int, int, str, int, int, bytes, bytes]) -> LoggedBatch:
    offset, received_ns, producer, epoch, sequence, digest, body = row
    rows = decode(body, digest, f"batch at offset {offset} of producer {producer!r}")
    return LoggedBatch(offset, received_ns, Batch(producer, epoch, sequence, rows))
