"""The version of a database's tables: older ones are brought up to date at the start, newer ones are refused.

Stores make tables that are missing by themselves. What changes a table that is already there is a migration here, so
that a data directory of an earlier version goes on working and one of a later version is not damaged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from features.database import Connection, Location, connect
from serving.alerts.upgrade import blocks_of_rows

_TABLE = """
    CREATE TABLE IF NOT EXISTS schema_versions (
        version INTEGER PRIMARY KEY,
        about TEXT NOT NULL,
        applied_ns BIGINT NOT NULL
    )
"""


class SchemaVersionError(ValueError):
    """The database was written by a later version of the program."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A step from the version before: what it is for, and statements that both databases understand.

    ``convert`` comes after the statements, in the same transaction, where rows must be read to be written anew.
    """

    version: int
    about: str
    statements: tuple[str, ...] = ()
    convert: Callable[[Connection], None] | None = None


MIGRATIONS = (
    Migration(1, "the tables as each store makes them"),
    Migration(2, "detectors in blocks instead of a row of text a series", convert=blocks_of_rows),
)
"""All steps in order, each one version further; a published step never changes."""


def migrate(location: Location, steps: Sequence[Migration] = MIGRATIONS) -> int:
    """Apply the steps that a database lacks, each in a transaction of its own; returns the version it has then.

    Several servers may start at once: one applies a step, the others find it done. Raises SchemaVersionError for a
    database of a later version.
    """
    connection = connect(location)
    try:
        connection.execute(_TABLE)
        for step in steps:
            _apply(connection, step)
        version = _version(connection)
    finally:
        connection.close()
    if version > steps[-1].version:
        raise SchemaVersionError(
            f"the database has version {version}, this program knows versions up to {steps[-1].version}; "
            "start the program that wrote it, or restore a backup from before"
        )
    return version


def _apply(connection: Connection, step: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _version(connection) < step.version:
            for statement in step.statements:
                connection.execute(statement)
            if step.convert is not None:
                step.convert(connection)
            row = (step.version, step.about, time.time_ns())
            connection.execute("INSERT INTO schema_versions VALUES (?, ?, ?)", row)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(version), 0) FROM schema_versions").fetchone()[0])
