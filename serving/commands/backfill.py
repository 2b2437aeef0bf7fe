"""`metercast backfill`: usage of the past from files, each counted once; windows and hours are revised."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from features.contracts import LogUnavailableError
from features.database import DATABASE_ERRORS, Location, connect
from features.log import open_log
from features.usage_files import UsageFileError
from serving.access.pseudonyms import PseudonymKeyError
from serving.commands.location import NoDatabaseError, add_options, location_of
from serving.ingest.privacy import Privacy, privacy_of
from serving.settings import from_environment
from serving.storage.backfill import Backfilled, BackfillError, backfill
from serving.storage.retention import engine_offset


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        location = location_of(args)
        privacy = _privacy(args)
    except (NoDatabaseError, PseudonymKeyError, ValueError) as error:
        print(f"metercast backfill: {error}", file=sys.stderr)
        return 2
    try:
        done = _take_in(location, args.files, privacy)
        waiting = _waiting(location)
    except (BackfillError, UsageFileError, LogUnavailableError, *DATABASE_ERRORS) as error:
        print(f"metercast backfill: {error}", file=sys.stderr)
        return 1
    finally:
        privacy.close()
    answer = {"files": [asdict(one) for one in done], "batches_the_engine_has_to_read": waiting}
    print(json.dumps(answer, indent=2) if args.json else "\n".join(_text(answer)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="metercast backfill",
        description=__doc__,
        epilog="Files hold events as the log does: Parquet or CSV with the columns of `metercast audit --out`, JSON or "
        "NDJSON in the wire form. A file that was taken in before changes nothing; events with an eventID count once "
        "in whatever file. The server may run meanwhile; it revises what it had closed. Invoices that were issued "
        "stay: their differences become lines of the next one.",
    )
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE", help=".parquet, .csv, .json or .ndjson")
    add_options(parser)
    parser.add_argument(
        "--pseudonym-keys",
        type=Path,
        default=os.environ.get("METERCAST_PSEUDONYM_KEYS"),
        help="the server's file of keys, where it keeps pseudonyms (default: METERCAST_PSEUDONYM_KEYS)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _privacy(args: argparse.Namespace) -> Privacy:
    """The rules that the server applies; raises ValueError where names would be kept that it does not keep."""
    given = from_environment(os.environ)
    mapping = Path(given.get("pseudonym_map", args.data / "identities.db"))
    if args.pseudonym_keys is None and mapping.exists():
        raise ValueError(f"{mapping} says that this server keeps pseudonyms; give its file of keys by --pseudonym-keys")
    never_stored = [name.strip() for name in given.get("never_stored", "").split(",") if name.strip()]
    return privacy_of(Path(args.pseudonym_keys) if args.pseudonym_keys else None, mapping, never_stored)


def _take_in(location: Location, files: list[Path], privacy: Privacy) -> list[Backfilled]:
    log = open_log(location)
    try:
        return [backfill(log, path, privacy, _teller(path)) for path in files]
    finally:
        log.close()


def _teller(path: Path) -> Any:
    def told(done: int, events: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{path.name}: {done:,} of {events:,}", end="\n" if done == events else "", file=sys.stderr)

    return told


def _waiting(location: Location) -> int:
    connection = connect(location)
    try:
        query = "SELECT count(*) FROM log WHERE log_offset > ?"
        return int(connection.execute(query, (engine_offset(connection),)).fetchone()[0])
    finally:
        connection.close()


def _text(answer: dict[str, Any]) -> list[str]:
    lines = [
        f"{one['file']}: {one['accepted']} events taken in, {one['duplicate']} known before" for one in answer["files"]
    ]
    waiting = answer["batches_the_engine_has_to_read"]
    return [*lines, f"{waiting} batches wait for the engine of `metercast serve`"] if waiting else lines
