"""`metercast backup` and `metercast restore`: a platform as one file, taken while the server runs."""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from features.data_home import add_database_url, data_home

DATABASES = ("metercast.db", "mlflow.db")
FOLDERS = ("models", "mlartifacts", "history")
DUMP, MANIFEST = "postgresql.dump", "postgresql.json"


def backup(argv: list[str]) -> int:
    """Run `metercast backup`; returns the exit code."""
    args = _parser("backup", "the file to write, .tar.gz").parse_args(argv)
    if not args.database_url and not (args.data / DATABASES[0]).exists():
        return _refuse("backup", f"{args.data} is no data directory: it has no {DATABASES[0]}; or give --database-url")
    if args.file.exists():
        return _refuse("backup", f"{args.file} exists; choose another name")
    with tempfile.TemporaryDirectory(dir=args.file.resolve().parent) as name:
        scratch = Path(name)
        try:
            counts = _dump(args.database_url, scratch) if args.database_url else {}
        except RuntimeError as error:
            return _refuse("backup", str(error), 1)
        with tarfile.open(scratch / "backup.tar.gz", "w:gz") as archive:
            for one in (DUMP, MANIFEST) if counts else ():
                archive.add(scratch / one, one)
            for one in DATABASES[1:] if counts else DATABASES:
                if (args.data / one).exists():
                    archive.add(_copied(args.data / one, scratch / one), one)
            for one in FOLDERS:
                if (args.data / one).exists():
                    archive.add(args.data / one, one)
        shutil.move(scratch / "backup.tar.gz", args.file)
    return _tell(args, {"file": str(args.file), "size_bytes": args.file.stat().st_size, **counts})


def restore(argv: list[str]) -> int:
    """Run `metercast restore`; returns the exit code."""
    args = _parser("restore", "the file of `metercast backup`").parse_args(argv)
    if args.data.exists() and any(args.data.iterdir()):
        return _refuse("restore", f"{args.data} is not empty; restore into a new directory")
    try:
        with tarfile.open(args.file) as archive:
            problem = _misfit(archive.getnames(), args)
            if problem:
                return _refuse("restore", problem)
            args.data.mkdir(parents=True, exist_ok=True)
            archive.extractall(args.data, filter="data")
    except (OSError, tarfile.TarError) as error:
        return _refuse("restore", f"{args.file} cannot be read: {error}")
    return _restore_server(args) if args.database_url else _check_file(args)


def _misfit(names: list[str], args: argparse.Namespace) -> str | None:
    """Why a file cannot be restored to where the options say."""
    if DUMP not in names and DATABASES[0] not in names:
        return f"{args.file} is no backup: it holds neither {DATABASES[0]} nor {DUMP}"
    if DUMP in names and not args.database_url:
        return f"{args.file} is of a PostgreSQL database; give an empty one by --database-url"
    if DUMP not in names and args.database_url:
        return f"{args.file} is of a data directory's file; leave --database-url out"
    return None


def _restore_server(args: argparse.Namespace) -> int:
    from serving.storage import server_dump

    dump, manifest = args.data / DUMP, args.data / MANIFEST
    try:
        counts = server_dump.restore(args.database_url, dump, manifest)
    except server_dump.ServerDumpError as error:
        shutil.rmtree(args.data)
        return _refuse("restore", str(error), 1)
    dump.unlink()
    manifest.unlink()
    return _tell(args, {"data": str(args.data), "integrity": "ok", **counts})


def _check_file(args: argparse.Namespace) -> int:
    with closing(sqlite3.connect(args.data / DATABASES[0])) as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if sound != "ok":
        return _refuse("restore", f"the database in {args.file} is damaged: {sound}", 1)
    return _tell(args, {"data": str(args.data), "integrity": sound})


def _dump(url: str, scratch: Path) -> dict[str, int]:
    from serving.storage import server_dump  # psycopg is an extra

    return server_dump.dump(url, scratch / DUMP, scratch / MANIFEST)


def _copied(source: Path, target: Path) -> Path:
    """A copy of a database as of one moment, whoever writes to it meanwhile (SQLite's online backup)."""
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)
    return target


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"metercast {name}",
        description=__doc__,
        epilog="A PostgreSQL database goes by pg_dump and pg_restore, which have to be on PATH: as of one moment, and "
        "into an empty database. Models and archived events are those of the data directory in either case.",
    )
    parser.add_argument("file", type=Path, help=about)
    parser.add_argument("--data", type=Path, default=data_home(), help="data directory")
    add_database_url(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _refuse(name: str, message: str, code: int = 2) -> int:
    print(f"metercast {name}: {message}", file=sys.stderr)
    return code


def _tell(args: argparse.Namespace, document: Mapping[str, object]) -> int:
    print(json.dumps(document) if args.json else "\n".join(f"{name}: {value}" for name, value in document.items()))
    return 0
