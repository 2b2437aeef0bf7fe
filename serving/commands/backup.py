"""`metercast backup` and `metercast restore`: a data directory as one file, taken while the server runs."""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path

from features.data_home import data_home

DATABASES = ("metercast.db", "mlflow.db")
FOLDERS = ("models", "mlartifacts", "history")


def backup(argv: list[str]) -> int:
    """Run `metercast backup`; returns the exit code."""
    args = _parser("backup", "the file to write, .tar.gz").parse_args(argv)
    if not (args.data / DATABASES[0]).exists():
        return _refuse("backup", f"{args.data} is no data directory: it has no {DATABASES[0]}")
    if args.file.exists():
        return _refuse("backup", f"{args.file} exists; choose another name")
    with tempfile.TemporaryDirectory(dir=args.file.resolve().parent) as scratch:
        whole = Path(scratch) / "backup.tar.gz"
        with tarfile.open(whole, "w:gz") as archive:
            for name in DATABASES:
                if (args.data / name).exists():
                    archive.add(_copied(args.data / name, Path(scratch) / name), name)
            for name in FOLDERS:
                if (args.data / name).exists():
                    archive.add(args.data / name, name)
        shutil.move(whole, args.file)
    return _tell(args, {"file": str(args.file), "size_bytes": args.file.stat().st_size})


def restore(argv: list[str]) -> int:
    """Run `metercast restore`; returns the exit code."""
    args = _parser("restore", "the file of `metercast backup`").parse_args(argv)
    if args.data.exists() and any(args.data.iterdir()):
        return _refuse("restore", f"{args.data} is not empty; restore into a new directory")
    try:
        with tarfile.open(args.file) as archive:
            if DATABASES[0] not in archive.getnames():
                return _refuse("restore", f"{args.file} is no backup: it holds no {DATABASES[0]}")
            args.data.mkdir(parents=True, exist_ok=True)
            archive.extractall(args.data, filter="data")
    except (OSError, tarfile.TarError) as error:
        return _refuse("restore", f"{args.file} cannot be read: {error}")
    with closing(sqlite3.connect(args.data / DATABASES[0])) as connection:
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
    if sound != "ok":
        return _refuse("restore", f"the database in {args.file} is damaged: {sound}", 1)
    return _tell(args, {"data": str(args.data), "integrity": sound})


def _copied(source: Path, target: Path) -> Path:
    """A copy of a database as of one moment, whoever writes to it meanwhile (SQLite's online backup)."""
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(target)) as copy:
        live.backup(copy)
    return target


def _parser(name: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"metercast {name}", description=__doc__)
    parser.add_argument("file", type=Path, help=about)
    parser.add_argument("--data", type=Path, default=data_home(), help="data directory")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _refuse(name: str, message: str, code: int = 2) -> int:
    print(f"metercast {name}: {message}", file=sys.stderr)
    return code


def _tell(args: argparse.Namespace, document: dict[str, object]) -> int:
    print(json.dumps(document) if args.json else "\n".join(f"{name}: {value}" for name, value in document.items()))
    return 0
