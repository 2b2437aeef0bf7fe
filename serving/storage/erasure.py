"""Removes one user's data from a database: log, archive, windows, anomalies, detectors, budgets and keys."""

from __future__ import annotations

import json
import mmap
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from features.database import Connection, tables
from serving.alerts import detector_erasure
from serving.ledger import erasure as ledger_erasure
from serving.storage.archive import Archive
from serving.storage.log_erasure import erase_rows, matching
from serving.storage.window_erasure import erase_user, windows_of

ERASURES = "CREATE TABLE IF NOT EXISTS erasures (id INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER, removed TEXT)"
"""One row an erasure, with counts and without the name; engines compare its id to notice that they must forget."""

# Every place that holds a user's data: table, and the condition that finds it. A column for a user belongs here.
_PLACES = (
    ("anomalies", "user_id = :user"),
    ("anomaly_users", "user_id = :user"),
    ("planned_events", "user_id = :user"),
    ("planned_entries", "user_id = :user"),
    ("raised_bars", "user_id = :user"),
    ("detectors", "substr(series, 1, length(:user) + 1) = :user || '|'"),  # of databases before version 2
    ("accuracy", "user_id = :user"),
    ("budgets", "user_id = :user"),
    ("budget_rules", "user_id = :user"),
    ("budget_alerts", "user_id = :user"),
    ("customer_terms", "user_id = :user"),
    ("prepaid_credits", "user_id = :user"),
    ("estimates_made", "user_id = :user"),
    ("quotes", "user_id = :user"),
    ("webhooks", "user_id = :user"),
    ("webhook_events", "user_id = :user"),
    ("keys", "tenant = :user"),
)


def last_erasure(connection: Connection) -> int:
    """Number of the latest erasure, 0 before the first."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM erasures").fetchone()[0])


def erase(connection: Connection, user: str, archive: Archive | None = None) -> dict[str, int]:
    """Remove a user's rows everywhere in one transaction; returns how many there were, by place.

    The audit trail keeps its acts and the ledger its amounts, without the name. `overwrite` then removes what the
    database still holds of the pages. Raises CorruptBatchError for a damaged batch of the log, before anything is
    changed.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA secure_delete = ON")
    connection.execute(ERASURES)
    # The long look through the log holds up nobody; only what came meanwhile is looked through under the lock.
    until = int(connection.execute("SELECT coalesce(max(log_offset), 0) FROM log").fetchone()[0])
    theirs = pl.col("user_id") == user
    found = [offset for offset, _ in matching(connection, theirs, 0, until)]
    connection.execute("BEGIN IMMEDIATE")
    try:
        later = [offset for offset, _ in matching(connection, theirs, until)]
        removed = {"events": erase_rows(connection, theirs, [*found, *later])}
        removed["archived_events"] = archive.erase(theirs, last_erasure(connection) + 1) if archive else 0
        removed["windows"] = erase_user(connection, user)
        removed["detector_series"] = detector_erasure.erase_user(connection, user)
        for table, condition in _present(connection, _PLACES):
            removed[table] = connection.execute(f"DELETE FROM {table} WHERE {condition}", {"user": user}).rowcount  # noqa: S608
        removed |= ledger_erasure.forget(connection, user)
        removed["audit"] = _unname(connection, user)
        note_erasure(connection, removed)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    if archive is not None:
        archive.tidy()
    return removed


def note_erasure(connection: Connection, removed: dict[str, int]) -> None:
    """Tell engines, inside the transaction of an erasure, that what they remember may be gone."""
    row = (time.time_ns(), json.dumps(removed))
    connection.execute("INSERT INTO erasures (at_ns, removed) VALUES (?, ?)", row)


def remaining(connection: Connection, user: str, archive: Archive | None = None) -> dict[str, int]:
    """How many rows of a user there are, by place: all zero after an erasure, unless the user sent more since."""
    theirs = pl.col("user_id") == user
    counts = {"events": sum(count for _, count in matching(connection, theirs, 0))}
    parts = archive.parts() if archive else []
    counts["archived_events"] = sum(archive.read(part).filter(theirs).height for part in parts) if archive else 0
    counts["windows"] = windows_of(connection, user)
    for table, condition in _present(connection, (*_PLACES, *detector_erasure.PLACES, *ledger_erasure.PLACES)):
        query = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608
        counts[table] = connection.execute(query, {"user": user}).fetchone()[0]
    counts["audit"] = len(_acts_of(connection, user))
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


def overwrite(connection: Connection) -> bool:
    """Remove what a database still holds of erased rows; False while a reader holds on to it.

    SQLite's journal is written back and emptied. PostgreSQL's tables are written anew (``VACUUM FULL``); its
    write-ahead log keeps old pages until it is recycled, and so do backups.
    """
    if isinstance(connection, sqlite3.Connection):
        return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    for table in sorted(tables(connection)):
        connection.execute(f"VACUUM FULL {table}")
    connection.execute("CHECKPOINT")
    return True


def _present(connection: Connection, places: tuple[tuple[str, str], ...]) -> Iterator[tuple[str, str]]:
    there = tables(connection)
    return (place for place in places if place[0] in there)


def _acts_of(connection: Connection, user: str) -> list[tuple[int, str, str]]:
    """Acts of the audit trail that name a user: id, subject and detail."""
    if "audit" not in tables(connection):
        return []
    rows = connection.execute("SELECT id, subject, detail FROM audit").fetchall()
    return [row for row in rows if row[1] == user or json.loads(row[2]).get("tenant") == user]


def _unname(connection: Connection, user: str) -> int:
    acts = _acts_of(connection, user)
    for number, subject, detail in acts:
        told = json.loads(detail)
        if told.get("tenant") == user:
            told["tenant"] = "erased"
        values = ("erased" if subject == user else subject, json.dumps(told), number)
        connection.execute("UPDATE audit SET subject = ?, detail = ? WHERE id = ?", values)
    return len(acts)
