"""`metercast retract`: takes wrong events back, whoever sent them; windows are revised and bills rate what remains."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from features.contracts import LogUnavailableError
from features.database import DATABASE_ERRORS, Location, connect
from features.log import open_log
from features.stored_rows import CorruptBatchError
from serving.access.audit import AuditLog
from serving.access.pseudonyms import PseudonymKeyError
from serving.commands.location import NoDatabaseError, add_options, location_of
from serving.ingest.privacy import privacy_of
from serving.settings import from_environment
from serving.storage.archive import Archive
from serving.storage.backfill import BackfillError, file_producer
from serving.storage.retraction import Retracted, Retraction, RetractionError, Selection

_END_NS = 2**63 - 1


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code: 3 where no event in the log is as described."""
    args = _parser().parse_args(argv)
    try:
        location, wrong = location_of(args), _selection(args)
    except (NoDatabaseError, PseudonymKeyError, RetractionError, BackfillError, ValueError) as error:
        print(f"metercast retract: {error}", file=sys.stderr)
        return 2
    try:
        found = _take_back(location, wrong, args)
    except (RetractionError, CorruptBatchError, LogUnavailableError, *DATABASE_ERRORS) as error:
        print(f"metercast retract: {error}", file=sys.stderr)
        return 1
    answer = found.document() | {"dry_run": args.dry_run}
    print(json.dumps(answer, indent=2) if args.json else _text(answer))
    return 0 if found.events or found.before else 3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="metercast retract",
        description=__doc__,
        epilog="Events that have all that is given are taken back, once, however often this is done; --dry-run counts "
        "them first. Nothing leaves the log: `metercast log list` shows both sides, `metercast erase` removes people. "
        "Right events come in under another producer or sequence. Invoices that were issued stay: "
        "POST /v1/invoices/issued/NUMBER/corrections makes the difference lines of the next one.",
    )
    parser.add_argument("--producer", default="", help="who sent them, as `metercast log list` shows it")
    parser.add_argument("--epoch", type=int, help="of this epoch of the producer")
    parser.add_argument("--sequence", help="of this sequence, or of a span: 17 or 17-20")
    parser.add_argument("--file", type=Path, help="those that `metercast backfill` took in from this file")
    parser.add_argument("--user", default="", help="userID")
    parser.add_argument("--operation", default="", help="operationID")
    parser.add_argument("--type", default="", help="microOperationType")
    parser.add_argument("--meter", default="", help="meter")
    parser.add_argument("--start", help="from this moment of event time on, ISO 8601 (UTC unless it says otherwise)")
    parser.add_argument("--end", help="before this moment of event time")
    parser.add_argument("--reason", required=True, help="kept in the record of acts (`GET /v1/audit`)")
    parser.add_argument("--dry-run", action="store_true", help="count, and take nothing back")
    add_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _selection(args: argparse.Namespace) -> Selection:
    if args.file is not None and args.producer:
        raise RetractionError("--file stands for a producer; leave --producer out")
    return Selection(
        producer=file_producer(args.file) if args.file is not None else args.producer,
        epoch=args.epoch,
        sequences=_sequences(args.sequence),
        user_id=_seen_as(args.user, args.data) if args.user else "",
        operation_id=args.operation,
        micro_operation_type=args.type,
        meter=args.meter,
        start_ns=_moment("--start", args.start, 0),
        end_ns=_moment("--end", args.end, _END_NS),
    )


def _seen_as(user: str, data: Path) -> str:
    """The name under which a server that keeps pseudonyms has a user; METERCAST_PSEUDONYM_KEYS names its keys."""
    given = from_environment(os.environ)
    mapping = Path(given.get("pseudonym_map", data / "identities.db"))
    if "pseudonym_keys" not in given:
        if mapping.exists() and not user.startswith("p_"):
            raise ValueError(f"{mapping} says that this server keeps pseudonyms; set METERCAST_PSEUDONYM_KEYS")
        return user
    privacy = privacy_of(Path(given["pseudonym_keys"]), mapping, ())
    try:
        return privacy.seen_as(user)
    finally:
        privacy.close()


def _sequences(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = text.partition("-")
    try:
        span = int(first), int(last or first)
    except ValueError:
        raise RetractionError(f"--sequence {text!r:.40} is no number and no span; write 17 or 17-20") from None
    if span[0] > span[1]:
        raise RetractionError(f"--sequence {text!r:.40}: the span is empty; write the smaller number first")
    return span


def _moment(option: str, text: str | None, default_ns: int) -> int:
    if text is None:
        return default_ns
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise RetractionError(f"{option} {text!r:.40} is no time; write it as 2026-11-01T00:00:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6) * 1_000


def _take_back(location: Location, wrong: Selection, args: argparse.Namespace) -> Retracted:
    log, connection = open_log(location), connect(location)
    try:
        retraction = Retraction(log, connection, Archive(connection, args.data / "history"))
        found = retraction.take_back(wrong, args.dry_run, _told)
        if found.events and not args.dry_run:
            audit = AuditLog(location)
            audit.record("command line", "events.retract", args.reason, events=found.events, batches=found.batches)
            audit.close()
        return found
    finally:
        connection.close()
        log.close()


def _told(events: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{events:,} events", end="", file=sys.stderr, flush=True)


def _text(answer: dict[str, Any]) -> str:
    done = "would be taken back" if answer["dry_run"] else "taken back"
    lines = [f"{answer['events']} events of {answer['batches']} batches {done}"]
    if answer["events_retracted_before"]:
        lines.append(f"{answer['events_retracted_before']} had been taken back before")
    if answer["events"]:
        usage = "  ".join(f"{name}={value}" for name, value in answer["usage"].items() if value)
        lines += [f"of {', '.join(answer['users'])}", f"from {answer['first']} to {answer['last']}", usage]
    elif not answer["events_retracted_before"]:
        lines = ["no event in the log is as described; `metercast log list` shows its batches"]
    return "\n".join(lines)
