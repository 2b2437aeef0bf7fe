"""The embedded event log: one SQLite row per batch, durable before it is acknowledged."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from features.contracts import (
    EVENT_IDS_KEPT,
    Batch,
    LoggedBatch,
    LogUnavailableError,
    Outcome,
    Receipt,
)
from features.database import connect_file
from features.database import connect_file as connect
from features.stored_rows import StoredBatch, decode, is_same, prepared, without_rows

__all__ = ["TABLES", "SqliteEventLog", "connect", "logged"]

TABLES = (
    """
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
    """,
    "CREATE TABLE IF NOT EXISTS event_ids (place INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE)",
)
# `sent` is the checksum of a batch as it came, kept where rows were left out or erased from it, so that sending it
# again counts as a duplicate still.


class SqliteEventLog:
    """An `EventLog` in a SQLite file (WAL, synchronous=FULL); usable from several threads and processes."""

    def __init__(self, path: Path, event_ids_kept: int = EVENT_IDS_KEPT) -> None:
        """Open or create the log; raises sqlite3.OperationalError when the file cannot be opened."""
        self._lock = threading.Lock()
        self._event_ids_kept = event_ids_kept
        self._connection = connect_file(path)
        with self._connection:
            for table in TABLES:
                self._connection.execute(table)
            if not any(row[1] == "sent" for row in self._connection.execute("PRAGMA table_info(log)")):
                self._connection.execute("ALTER TABLE log ADD COLUMN sent BLOB")

    def append(self, batches: Sequence[Batch]) -> list[Receipt]:
        """Make the batches durable in one transaction; same key and body: DUPLICATE, same key only: CONFLICT.

        Rows whose event id is among the last remembered ones are left out. Raises LogUnavailableError when the disk is
        full or cannot be written.
        """
        stored = [prepared(batch) for batch in batches]
        with self._lock:
            try:
                return self._append(stored)
            except sqlite3.OperationalError as error:
                raise LogUnavailableError(f"the log cannot be written: {error}") from error

    def _append(self, stored: list[StoredBatch]) -> list[Receipt]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            receipts = [self._append_one(one) for one in stored]
            if any(one.batch.event_ids for one in stored):
                self._connection.execute(
                    "DELETE FROM event_ids WHERE place <= (SELECT max(place) FROM event_ids) - ?",
                    (self._event_ids_kept,),
                )
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk ends the transaction by itself
                self._connection.execute("ROLLBACK")
            raise
        return receipts

    def _append_one(self, stored: StoredBatch) -> Receipt:
        batch = stored.batch
        key = (batch.producer, batch.epoch, batch.sequence)
        found = self._connection.execute(
            "SELECT coalesce(sent, digest) FROM log WHERE producer = ? AND epoch = ? AND sequence = ?", key
        ).fetchone()
        if found is not None:
            return Receipt(Outcome.DUPLICATE if is_same(stored, found[0]) else Outcome.CONFLICT)
        known = [row for row, event_id in enumerate(batch.event_ids) if event_id and not self._first_seen(event_id)]
        kept = without_rows(stored, known) if known else stored
        self._connection.execute(
            "INSERT INTO log (producer, epoch, sequence, received_ns, events, digest, body, sent) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *key,
                time.time_ns(),
                kept.batch.rows.num_rows,
                kept.digest,
                kept.body,
                stored.digest if known else None,
            ),
        )
        return Receipt(Outcome.ACCEPTED, len(known))

    def _first_seen(self, event_id: bytes) -> bool:
        """Remember an event id; False when it is remembered already."""
        insert = "INSERT INTO event_ids (id) VALUES (?) ON CONFLICT (id) DO NOTHING"
        return self._connection.execute(insert, (event_id,)).rowcount == 1

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
        return [logged(row) for row in rows]

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


def logged(row: tuple[int, int, str, int, int, bytes, bytes]) -> LoggedBatch:
    """A row of the log (offset, received_ns, producer, epoch, sequence, digest, body), checked and decoded."""
    offset, received_ns, producer, epoch, sequence, digest, body = row
    rows = decode(body, digest, f"batch at offset {offset} of producer {producer!r}")
    return LoggedBatch(offset, received_ns, Batch(producer, epoch, sequence, rows))
