"""`metercast erase`: remove one user's data from a data directory, whether or not its server runs, and prove it."""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from pathlib import Path

from features.sqlite_log import SqliteEventLog, connect
from features.stored_rows import CorruptBatchError
from serving.storage.archive import Archive
from serving.storage.erasure import erase, mentions, remaining, truncate


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code: 3 where the user is still found afterwards."""
    args = _parser().parse_args(argv)
    path = args.data / "metercast.db"
    if not path.is_file():
        print(f"metercast erase: no database {path}; `metercast serve --data` makes one", file=sys.stderr)
        return 2
    SqliteEventLog(path).close()  # a database of an older version gets its missing columns
    connection = connect(path)
    try:
        archive = Archive(connection, args.data / "history")
        removed = {} if args.dry_run else erase(connection, args.user, archive)
        left = remaining(connection, args.user, archive)
        emptied = args.dry_run or truncate(connection)
    except (CorruptBatchError, sqlite3.OperationalError) as error:
        print(f"metercast erase: nothing was erased: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    answer = {
        "user": args.user,
        "removed": removed,
        "remaining": left,
        "journal_emptied": emptied,
        "mentioned_in": mentions(args.data, args.user),
    }
    print(json.dumps(answer, indent=2) if args.json else _text(answer))
    return 3 if any(left.values()) or answer["mentioned_in"] or not emptied else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="metercast erase",
        description=__doc__,
        epilog="Files named under 'mentioned_in' (model bundles, experiments, spooled batches) are left as they are: "
        "train and promote again, and delete them. A running server forgets at its next step; its pages may show what "
        "they have in memory until it is started again.",
    )
    parser.add_argument("--user", required=True, help="userID, as events carry it")
    parser.add_argument("--data", type=Path, default=Path("metercast-data"), help="data directory")
    parser.add_argument("--dry-run", action="store_true", help="count what there is and change nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _text(answer: dict[str, object]) -> str:
    lines = []
    for name, value in answer.items():
        told = value
        if isinstance(value, dict):
            told = ", ".join(f"{count} {place}" for place, count in value.items() if count) or "nothing"
        elif isinstance(value, list):
            told = ", ".join(value) or "no other file"
        lines.append(f"{name.replace('_', ' ')}: {told}")
    return "\n".join(lines)
