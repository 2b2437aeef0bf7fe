"""`metercast erase`: remove one user's data from a data directory, whether or not its server runs, and prove it."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from features.database import DATABASE_ERRORS, connect
from features.log import open_log
from features.stored_rows import CorruptBatchError
from serving.access.pseudonyms import Mapping
from serving.commands.location import NoDatabaseError, add_options, location_of
from serving.storage.archive import Archive
from serving.storage.erasure import erase, mentions, overwrite, remaining


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code: 3 where the user is still found afterwards."""
    args = _parser().parse_args(argv)
    try:
        location = location_of(args)
        open_log(location).close()  # a database of an older version gets its missing columns
        connection = connect(location)
    except NoDatabaseError as error:
        print(f"metercast erase: {error}", file=sys.stderr)
        return 2
    except DATABASE_ERRORS as error:
        print(f"metercast erase: {error}", file=sys.stderr)
        return 1
    try:
        archive = Archive(connection, args.data / "history")
        names = [args.user, *_pseudonyms(args, forget=False)]
        removed = {} if args.dry_run else _sum(erase(connection, name, archive) for name in names)
        left = _sum(remaining(connection, name, archive) for name in names)
        if not args.dry_run:
            removed["pseudonyms"] = len(_pseudonyms(args, forget=True))
        left["pseudonyms"] = len(_pseudonyms(args, forget=False))
        emptied = args.dry_run or overwrite(connection)
    except (CorruptBatchError, *DATABASE_ERRORS) as error:
        print(f"metercast erase: nothing was erased: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    answer = {
        "user": args.user,
        "removed": removed,
        "remaining": left,
        "journal_emptied": emptied,
        "mentioned_in": mentions(args.data, args.user) if args.data.is_dir() else [],
    }
    print(json.dumps(answer, indent=2) if args.json else _text(answer))
    return 3 if any(left.values()) or answer["mentioned_in"] or not emptied else 0


def _pseudonyms(args: argparse.Namespace, forget: bool) -> list[str]:
    """The user's pseudonym, where there is one; with ``forget`` it is removed from the mapping."""
    path: Path = args.pseudonym_map or args.data / "identities.db"
    if not path.is_file():
        return []
    mapping = Mapping(path)
    try:
        found = mapping.known(args.user)
        if found and forget:
            mapping.forget(args.user)
        return [found] if found else []
    finally:
        mapping.close()


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(total)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="metercast erase",
        description=__doc__,
        epilog="Files named under 'mentioned_in' (model bundles, experiments, spooled batches) are left as they are: "
        "train and promote again, and delete them. A running server forgets at its next step; its pages may show what "
        "they have in memory until it is started again.",
    )
    parser.add_argument("--user", required=True, help="userID, as events carry it")
    add_options(parser)
    parser.add_argument("--pseudonym-map", type=Path, help="who stands behind which pseudonym, if kept elsewhere")
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
