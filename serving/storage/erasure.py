"""Removes one user's data from a data directory's database: log, windows, anomalies, detectors, budgets and keys."""

from __future__ import annotations

import json
import mmap
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from features.stored_rows import decode, encode
from serving.storage.archive import Archive
from serving.storage.window_erasure import erase_user, windows_of

ERASURES = "CREATE TABLE IF NOT EXISTS erasures (id INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER, removed TEXT)"
"""One row an erasure, with counts and without the name; engines compare its id to notice that they must forget."""

# Every place that holds a user's data: table, and the condition that finds it. A column for a user belongs here.
_PLACES = (
    ("anomalies", "user_id = :user OR instr(document, json_quote(:user)) > 0"),
    ("planned_events", "user_id = :user"),
    ("raised_bars", "user_id = :user"),
    ("detectors", "substr(series, 1, length(:user) + 1) = :user || '|'"),
    ("budgets", "user_id = :user"),
    ("keys", "tenant = :user"),
)
_AUDIT = "subject = :user OR json_extract(detail, '$.tenant') = :user"


def last_erasure(connection: sqlite3.Connection) -> int:
    """Number of the latest erasure, 0 before the first."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM erasures").fetchone()[0])


def erase(connection: sqlite3.Connection, user: str, archive: Archive | None = None) -> dict[str, int]:
    """Remove a user's rows everywhere in one transaction; returns how many there were, by place.

    Freed pages are overwritten. The audit trail keeps its acts, without the name. Raises CorruptBatchError for a
    damaged batch of the log, before anything is changed.
    """
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(ERASURES)
    # The long look through the log holds up nobody; only what came meanwhile is looked through under the lock.
    until = int(connection.execute("SELECT coalesce(max(log_offset), 0) FROM log").fetchone()[0])
    found = [offset for offset, _ in _batches_of(connection, user, 0) if offset <= until]
    connection.execute("BEGIN IMMEDIATE")
    try:
        removed = {"events": _erase_from_log(connection, user, found, until)}
        removed["archived_events"] = _erase_from_parts(connection, user, archive) if archive else 0
        removed["windows"] = erase_user(connection, user)
        for table, condition in _present(connection, _PLACES):
            removed[table] = connection.execute(f"DELETE FROM {table} WHERE {condition}", {"user": user}).rowcount  # noqa: S608
        for table, condition in _present(connection, (("audit", _AUDIT),)):
            removed[table] = connection.execute(
                f"UPDATE {table} SET subject = CASE subject WHEN :user THEN 'erased' ELSE subject END, "  # noqa: S608
                f"detail = json_replace(detail, '$.tenant', 'erased') WHERE {condition}",
                {"user": user},
            ).rowcount
        connection.execute("INSERT INTO erasures (at_ns, removed) VALUES (?, ?)", (time.time_ns(), json.dumps(removed)))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    if archive is not None:
        archive.tidy()
    return removed


def _erase_from_parts(connection: sqlite3.Connection, user: str, archive: Archive) -> int:
    erased, version = 0, last_erasure(connection) + 1
    for part in archive.parts():
        events = archive.read(part)
        kept = events.filter(pl.col("user_id") != user)
        if kept.height < events.height:
            archive.replace(part, kept, version)
            erased += events.height - kept.height
    return erased


def remaining(connection: sqlite3.Connection, user: str, archive: Archive | None = None) -> dict[str, int]:
    """How many rows of a user there are, by place: all zero after an erasure, unless the user sent more since."""
    counts = {"events": sum(count for _, count in _batches_of(connection, user, 0))}
    parts = archive.parts() if archive else []
    counts["archived_events"] = (
        sum(archive.read(part).filter(pl.col("user_id") == user).height for part in parts) if archive else 0
    )
    counts["windows"] = windows_of(connection, user)
    for table, condition in _present(connection, (*_PLACES, ("audit", _AUDIT))):
        query = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608
        counts[table] = connection.execute(query, {"user": user}).fetchone()[0]
    return counts


def mentions(directory: Path, user: str) -> list[str]:
    """Other files under a data directory that contain the name: model bundles, experiment stores, spooled batches."""
    wanted, found = user.encode(), []
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.name.startswith("metercast.db") and path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                if content.find(wanted) >= 0:
                    found.append(str(path.relative_to(directory)))
    return found


def truncate(connection: sqlite3.Connection) -> bool:
    """Write the journal back and empty it, so that no old page stays in it; False while a reader holds on to it."""
    return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def _present(connection: sqlite3.Connection, places: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return (place for place in places if place[0] in tables)


def _batches_of(connection: sqlite3.Connection, user: str, after: int) -> Iterator[tuple[int, int]]:
    """Offset, and number of the user's events, of every batch that has some."""
    query = "SELECT log_offset, digest, body FROM log WHERE log_offset > ? AND length(body) > 0 ORDER BY log_offset"
    for offset, digest, body in connection.execute(query, (after,)):
        count = pc.sum(_mine(_rows(offset, digest, body), user)).as_py() or 0
        if count:
            yield offset, count


def _erase_from_log(connection: sqlite3.Connection, user: str, offsets: list[int], until: int) -> int:
    later = [offset for offset, _ in _batches_of(connection, user, until)]
    erased = 0
    for offset in (*offsets, *later):
        digest, body = connection.execute("SELECT digest, body FROM log WHERE log_offset = ?", (offset,)).fetchone()
        rows = _rows(offset, digest, body)
        kept = rows.filter(pc.invert(_mine(rows, user)))
        erased += rows.num_rows - kept.num_rows
        new_body, new_digest = encode(kept)
        connection.execute(
            "UPDATE log SET events = ?, body = ?, digest = ?, sent = coalesce(sent, digest) WHERE log_offset = ?",
            (kept.num_rows, new_body, new_digest, offset),
        )
    return erased


def _rows(offset: int, digest: bytes, body: bytes) -> pa.RecordBatch:
    return decode(body, digest, f"batch at offset {offset}")


def _mine(rows: pa.RecordBatch, user: str) -> pa.Array:
    return pc.equal(rows["user_id"], user)
