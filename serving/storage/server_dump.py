"""A PostgreSQL database as one file and back, by pg_dump and pg_restore, with counts that must agree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

_COUNTS = "SELECT count(*), coalesce(sum(events), 0)::bigint, coalesce(max(log_offset), 0) FROM log"
_NAMES = ("batches", "events", "last_offset")


class ServerDumpError(RuntimeError):
    """A database could not be dumped or restored; the message has the reason, without the password."""


def dump(url: str, file: Path, manifest: Path) -> dict[str, int]:
    """Write all of a database as of one moment, whoever writes meanwhile; gives and keeps what its log holds.

    Raises ServerDumpError.
    """
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = _row(connection, "SELECT pg_export_snapshot()")[0]
            counts = _counts(connection)
            _run("pg_dump", url, ["--format=custom", f"--snapshot={snapshot}", f"--file={file}"])
    except psycopg.errors.UndefinedTable as error:
        raise ServerDumpError("the PostgreSQL database is no platform's: it has no table log") from error
    except psycopg.Error as error:
        raise ServerDumpError(f"PostgreSQL: {error}") from error
    manifest.write_text(json.dumps(counts))
    return counts


def restore(url: str, file: Path, manifest: Path) -> dict[str, int]:
    """Fill an empty database, all or nothing; gives what its log holds, which is as it was. Raises ServerDumpError."""
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            found = _row(connection, "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()")[0]
            if found:
                raise ServerDumpError(f"the PostgreSQL database has {found} tables; restore into a new, empty one")
            options = ["--single-transaction", "--exit-on-error", "--clean", "--if-exists", "--no-owner"]
            _run("pg_restore", url, [*options, "--no-privileges", str(file)])
            counts = _counts(connection)
    except psycopg.Error as error:
        raise ServerDumpError(f"PostgreSQL: {error}") from error
    if counts != json.loads(manifest.read_text()):
        raise ServerDumpError(f"the restored log holds {counts}, not {manifest.read_text()}; the file is damaged")
    return counts


def _counts(connection: psycopg.Connection) -> dict[str, int]:
    return {name: int(count) for name, count in zip(_NAMES, _row(connection, _COUNTS), strict=True)}


def _row(connection: psycopg.Connection, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query.encode()).fetchone()
    if row is None:
        raise ServerDumpError(f"PostgreSQL has no answer to {query}")
    return row


def _run(tool: str, url: str, options: Sequence[str]) -> None:
    """Run one of the server's tools; the password goes by the environment, where other users do not see it."""
    path = shutil.which(tool)
    if path is None:
        raise ServerDumpError(f"{tool} is not on PATH; install PostgreSQL's client tools of the server's version")
    known: dict[str, Any] = conninfo_to_dict(url)
    password = known.pop("password", None)
    secret = {"PGPASSWORD": str(password)} if password else {}
    words = [path, "--dbname", make_conninfo("", **known), *options]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | secret, check=False)
    if done.returncode:
        raise ServerDumpError(f"{tool} ended with {done.returncode}: {done.stderr.strip()[-500:]}")
