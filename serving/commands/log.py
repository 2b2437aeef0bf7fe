"""`metercast log`: look into a data directory's event log, verify it, replay it, and move what is old to Parquet."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.database import DATABASE_ERRORS, Connection, connect
from features.stored_rows import CorruptBatchError
from serving.accounts.periods import month_ns
from serving.commands.location import NoDatabaseError, add_options, location_of
from serving.storage.archive import Archive
from serving.storage.erasure import overwrite
from serving.storage.hours_export import export_hours
from serving.storage.log_check import differences, verify
from serving.storage.retention import DAY_NS, drop_windows, engine_offset, expire


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code: 3 where something damaged or different was found."""
    args = _parser().parse_args(argv)
    try:
        connection = connect(location_of(args))
    except NoDatabaseError as error:
        print(f"metercast log: {error}", file=sys.stderr)
        return 2
    except DATABASE_ERRORS as error:
        print(f"metercast log: {error}", file=sys.stderr)
        return 1
    try:
        answer, code = _ACTS[args.act](connection, args)
    except CorruptBatchError as error:
        print(f"metercast log: {error}", file=sys.stderr)
        return 3
    except DATABASE_ERRORS as error:
        print(f"metercast log: the database cannot be read: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"metercast log: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    print(json.dumps(answer, indent=2) if args.json else "\n".join(_text(answer)))
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="metercast log", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    add_options(shared)
    shared.add_argument("--json", action="store_true", help="print one JSON document")
    acts = parser.add_subparsers(dest="act", required=True)
    listing = acts.add_parser("list", parents=[shared], help="batches in the order of the log")
    listing.add_argument("--after", type=int, default=0, help="begin after this offset")
    listing.add_argument("--limit", type=int, default=20, help="default: %(default)s")
    listing.add_argument("--producer", help="of this producer only")
    acts.add_parser("verify", parents=[shared], help="compare every batch with its checksum; exit 3 if one is damaged")
    replay = acts.add_parser("replay", parents=[shared], help="compute windows anew; exit 3 if the kept ones differ")
    replay.add_argument("--limit", type=int, default=20, help="show so many differences (default: %(default)s)")
    compact = acts.add_parser("compact", parents=[shared], help="move old batches to Parquet, drop old short windows")
    compact.add_argument("--older-than-days", type=_days, default=7.0, help="batches (default: %(default)s)")
    compact.add_argument(
        "--windows-older-than-days", type=_days, default=35.0, help="windows under an hour (default: %(default)s)"
    )
    expire = acts.add_parser("expire", parents=[shared], help="remove all events of before an age, for good")
    expire.add_argument("--older-than-days", type=_days, required=True)
    expire.add_argument("--with-hours", action="store_true", help="also windows of an hour, which bills rest on")
    hours = acts.add_parser("hours", parents=[shared], help="write hours as Parquet, a file a month, by user and time")
    hours.add_argument("--out", type=Path, required=True, help="directory; what is there of a month is replaced")
    hours.add_argument("--month", type=_month, action="append", default=[], help="YYYY-MM, repeatable (default: all)")
    return parser


def _month(text: str) -> tuple[int, int]:
    try:
        return month_ns(int(datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).timestamp()) * 1_000_000_000)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no month; write it as 2026-11") from None


def _days(text: str) -> float:
    days = float(text)
    if not days >= 0:
        raise argparse.ArgumentTypeError(f"{text} days; at least 0")
    return days


def _archive(connection: Connection, args: argparse.Namespace) -> Archive:
    return Archive(connection, args.data / "history")


def _compact(connection: Connection, args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    now_ns = time.time_ns()
    made = _archive(connection, args).move(now_ns - round(args.older_than_days * DAY_NS), engine_offset(connection))
    dropped = drop_windows(connection, now_ns - round(args.windows_older_than_days * DAY_NS))
    parts = [{"file": part.file, "events": part.events} for part in made]
    return {"archived_events": sum(part.events for part in made), "parts": parts, "dropped_windows": dropped}, 0


def _expire(connection: Connection, args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    before_ns = time.time_ns() - round(args.older_than_days * DAY_NS)
    removed = expire(connection, before_ns, _archive(connection, args), args.with_hours)
    overwrite(connection)
    return {f"removed_{name}": count for name, count in removed.items()}, 0


def _hours(connection: Connection, args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    def told(file: str, done: int, users: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{file}: {done:,} of {users:,} users", end="\n" if done == users else "", file=sys.stderr)

    return {"files": [asdict(one) for one in export_hours(connection, args.out, args.month, told)]}, 0


def _list(connection: Connection, args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    query = """
        SELECT log_offset, received_ns, producer, epoch, sequence, events, length(body) FROM log
        WHERE log_offset > ? AND (? IS NULL OR producer = ?) ORDER BY log_offset LIMIT ?
    """
    names = ("offset", "received", "producer", "epoch", "sequence", "events", "size_bytes")
    rows = connection.execute(query, (args.after, args.producer, args.producer, args.limit))
    return {"batches": [dict(zip(names, (row[0], _time(row[1]), *row[2:]), strict=True)) for row in rows]}, 0


def _verify(connection: Connection, args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    found = verify(connection, _archive(connection, args))
    answer = {
        "batches": found.batches,
        "events": found.events,
        "gaps": list(found.gaps),
        "corrupt": list(found.corrupt),
    }
    return answer, 3 if found.corrupt else 0


def _replay(connection: Connection, args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    found = differences(connection, _archive(connection, args))
    shown = [
        {"window_s": window_s} | {name: str(value) for name, value in row.items()}
        for window_s, odd in found.items()
        for row in odd.head(args.limit).iter_rows(named=True)
    ]
    count = sum(odd.height for odd in found.values())
    return {"different_windows": count, "differences": shown[: args.limit]}, 3 if count else 0


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="milliseconds")


def _text(answer: dict[str, Any]) -> list[str]:
    """A line a figure, and a line a found thing."""
    lines = []
    for name, value in answer.items():
        if not isinstance(value, list):
            lines.append(f"{name.replace('_', ' ')}: {value}")
            continue
        lines += [
            one if isinstance(one, str) else "  ".join(f"{key}={part}" for key, part in one.items()) for one in value
        ]
    return lines or ["the log is empty"]


_ACTS = {"list": _list, "verify": _verify, "replay": _replay, "compact": _compact, "expire": _expire, "hours": _hours}
