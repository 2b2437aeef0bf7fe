"""`metercast audit`: one user's raw events of a span, compared with the windows that bills are made from."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from features.database import DATABASE_ERRORS, connect
from features.stored_rows import CorruptBatchError
from features.windows import KEYS, RESOURCES
from serving.accounts.periods import month_ns
from serving.commands.location import NoDatabaseError, add_options, location_of
from serving.storage.archive import Archive
from serving.storage.audit import Audit, audit

_SHOWN = 20


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code: 3 where windows differ from the events."""
    args = _parser().parse_args(argv)
    try:
        connection = connect(location_of(args))
    except NoDatabaseError as error:
        print(f"metercast audit: {error}", file=sys.stderr)
        return 2
    try:
        start_ns, end_ns = month_ns(_month(args.month))
        found = audit(
            connection, Archive(connection, args.data / "history"), args.user, start_ns, end_ns, args.window_s
        )
        if args.out:
            found.events.write_parquet(args.out)
    except ValueError as error:
        print(f"metercast audit: {error}", file=sys.stderr)
        return 3 if isinstance(error, CorruptBatchError) else 2
    except (OSError, *DATABASE_ERRORS) as error:
        print(f"metercast audit: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    answer = _answer(found)
    print(json.dumps(answer, indent=2) if args.json else _text(answer))
    return 3 if found.differences.height else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="metercast audit",
        description=__doc__,
        epilog="`metercast price --usage FILE` rates the events of --out again. `metercast log verify` compares the "
        "batches themselves with their checksums.",
    )
    parser.add_argument("--user", required=True, help="userID, as events carry it")
    parser.add_argument("--month", help="YYYY-MM in UTC (default: this month)")
    parser.add_argument("--window-s", type=int, default=3_600, help="length of the windows (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write the events to this Parquet file")
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _month(text: str | None) -> int:
    """A moment in the month, in Unix nanoseconds."""
    moment = datetime.now(UTC)
    if text is not None:
        try:
            moment = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
        except ValueError:
            raise ValueError(f"--month {text!r} is no month; write it as 2026-11") from None
    return int(moment.timestamp()) * 1_000_000_000


def _answer(found: Audit) -> dict[str, Any]:
    totals = found.events.group_by(*KEYS[1:]).agg(pl.len().alias("events"), pl.col(*RESOURCES).sum()).sort(KEYS[1:])
    shown = found.differences.head(_SHOWN).with_columns(pl.col("window_start").dt.to_string("iso:strict"))
    return {
        "events": found.events.height,
        "different_windows": found.differences.height,
        "differences": shown.to_dicts(),
        "totals": totals.to_dicts(),
    }


def _text(answer: dict[str, Any]) -> str:
    lines = [f"events: {answer['events']}", f"different windows: {answer['different_windows']}"]
    for row in (*answer["differences"], *answer["totals"]):
        lines.append("  ".join(f"{name}={value}" for name, value in row.items() if value))
    return "\n".join(lines)
