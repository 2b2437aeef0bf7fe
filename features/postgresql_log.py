"""The event log on a PostgreSQL server, for several API processes: the same promises as the embedded one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from features.contracts import (
    EVENT_IDS_KEPT,
    Batch,
    LoggedBatch,
    LogUnavailableError,
    Outcome,
    Receipt,
)
from features.database import DatabaseError
from features.postgresql import LOG_LOCK, PostgresqlConnection
from features.sqlite_log import TABLES, logged
from features.stored_rows import StoredBatch, is_same, prepared, without_rows

_KNOWN = """
SELECT producer, epoch, sequence, coalesce(sent, digest) FROM log WHERE (producer, epoch, sequence) IN
(SELECT * FROM unnest(?::text[], ?::bigint[], ?::bigint[]))
"""
_INSERT = """
INSERT INTO log (producer, epoch, sequence, received_ns, events, digest, body, sent) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_Key = tuple[str, int, int]


class PostgresqlEventLog:
    """An `EventLog` in a PostgreSQL database; usable from several threads, processes and machines.

    Appends hold an advisory lock until they are committed, so that offsets become visible in their order and no reader
    passes one by.
    """

    def __init__(self, url: str, event_ids_kept: int = EVENT_IDS_KEPT) -> None:
        """Open or create the log; raises DatabaseError when the server cannot be reached."""
        self._event_ids_kept = event_ids_kept
        self._writer, self._reader = PostgresqlConnection(url), PostgresqlConnection(url)
        for table in TABLES:
            self._writer.execute(table)

    def append(self, batches: Sequence[Batch]) -> list[Receipt]:
        """Make the batches durable in one transaction; same key and body: DUPLICATE, same key only: CONFLICT.

        Rows whose event id is among the last remembered ones are left out. Raises LogUnavailableError when the server
        is away; then it is unknown whether the batches were kept, and sending them again tells.
        """
        stored = [prepared(batch) for batch in batches]
        with self._writer.held():
            try:
                self._writer.execute("BEGIN TRANSACTION")
                self._writer.execute("SELECT pg_advisory_xact_lock(?)", (LOG_LOCK,))
                receipts = self._append(stored)
                self._writer.execute("COMMIT")
            except DatabaseError as error:
                self._writer.abandon()
                raise LogUnavailableError(f"the log cannot be written: {error}") from error
            except BaseException:
                self._writer.abandon()
                raise
        return receipts

    def _append(self, stored: list[StoredBatch]) -> list[Receipt]:
        keys = [_key(one) for one in stored]
        rows = self._writer.execute(
            _KNOWN, tuple(list(part) for part in zip(*keys, strict=True)) if keys else ([],) * 3
        )
        known: dict[_Key, bytes] = {(producer, epoch, sequence): digest for producer, epoch, sequence, digest in rows}
        receipts, inserts = [], []
        for key, one in zip(keys, stored, strict=True):
            if key in known:
                receipts.append(Receipt(Outcome.DUPLICATE if is_same(one, known[key]) else Outcome.CONFLICT))
                continue
            known[key] = one.digest
            left_out = self._seen(one.batch.event_ids)
            receipts.append(Receipt(Outcome.ACCEPTED, len(left_out)))
            inserts.append(_row(without_rows(one, left_out) if left_out else one, one.digest if left_out else None))
        if inserts:
            self._writer.executemany(_INSERT, inserts)
        if any(one.batch.event_ids for one in stored):
            trim = "DELETE FROM event_ids WHERE place <= (SELECT max(place) FROM event_ids) - ?"
            self._writer.execute(trim, (self._event_ids_kept,))
        return receipts

    def _seen(self, event_ids: Sequence[bytes]) -> list[int]:
        """Remember event ids; the rows of those that were remembered already."""
        given = [event_id for event_id in event_ids if event_id]
        if not given:
            return []
        insert = "INSERT INTO event_ids (id) SELECT unnest(?::bytea[]) ON CONFLICT (id) DO NOTHING RETURNING id"
        new = {bytes(row[0]) for row in self._writer.execute(insert, (list(dict.fromkeys(given)),))}
        left_out = []
        for row, event_id in enumerate(event_ids):
            if event_id and event_id not in new:
                left_out.append(row)
            new.discard(event_id)  # the same id again in this batch is a second time
        return left_out

    def read(self, after_offset: int, limit: int) -> list[LoggedBatch]:
        """The next batches after an offset (0 = from the start), at most ``limit``.

        Raises CorruptBatchError when a stored body no longer matches its checksum.
        """
        rows = self._reader.execute(
            "SELECT log_offset, received_ns, producer, epoch, sequence, digest, body FROM log "
            "WHERE log_offset > ? ORDER BY log_offset LIMIT ?",
            (after_offset, limit),
        ).fetchall()
        return [logged(row) for row in rows]

    def last_offset(self) -> int:
        """Offset of the newest batch, 0 when empty."""
        return int(self._reader.execute("SELECT coalesce(max(log_offset), 0) FROM log").fetchone()[0])

    def events(self) -> int:
        """How many events the log holds."""
        return int(self._reader.execute("SELECT coalesce(sum(events), 0) FROM log").fetchone()[0])

    def close(self) -> None:
        """Release both connections."""
        self._writer.close()
        self._reader.close()


def _key(stored: StoredBatch) -> _Key:
    return stored.batch.producer, stored.batch.epoch, stored.batch.sequence


def _row(kept: StoredBatch, sent: bytes | None) -> tuple[Any, ...]:
    return (*_key(kept), time.time_ns(), kept.batch.rows.num_rows, kept.digest, kept.body, sent)
