"""Usage of the past from files into the log: each file once, whatever is done again, so that windows are revised.

A file's events become batches whose key is the file's content and a number: doing it again, or going on after a crash,
finds what is there already. The engine takes the batches for late events and adds them to windows and hours, and what
is computed from the log (replay, audit, invoices) has them too.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from metercast.event import FIELDS

from features.contracts import Batch, EventLog, Outcome
from features.schema import ARROW_SCHEMA, events_from_json
from features.usage_files import read_table
from serving.ingest.arrow_bodies import event_rows
from serving.ingest.arrow_rows import faults
from serving.ingest.batch_keys import EVENT_ID, event_id
from serving.ingest.privacy import Privacy

_BATCH_EVENTS = 50_000  # never change it: a file that is taken in again must give the same batches
_BEGIN_S = 946_684_800
"""The year 2000: what is older is a time in another unit."""
_KEY = ("producer", "epoch", "sequence")
_COLUMN_OF = {json_name: name for json_name, name, _ in FIELDS}
_NEEDED = ("timestamp", "operation_id", "micro_operation_type", "user_id")
_SHOWN = 5


class BackfillError(ValueError):
    """A file that cannot be taken in, of which nothing was; the message has the rows and what is wrong with them."""


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What became of a file's events."""

    file: str
    events: int
    accepted: int
    duplicate: int


def backfill(
    log: EventLog, path: Path, privacy: Privacy, told: Callable[[int, int], None] = lambda _done, _all: None
) -> Backfilled:
    """Take in a file of events (Parquet, CSV, JSON or NDJSON); ``told`` hears how many of how many are done.

    Events with an id (a column or member `eventID`) count once also in another file, as long as the log remembers them.
    Raises BackfillError, UsageFileError, LogUnavailableError.
    """
    producer = file_producer(path)
    table, ids = read_events(path)
    accepted = duplicate = 0
    for sequence, batch in enumerate(_batches(table, ids, producer)):
        kept = privacy.applied(batch)
        receipt = log.append([kept])[0]
        if receipt.outcome is Outcome.CONFLICT:
            raise BackfillError(
                f"{path}: its batch {sequence} is in the log with other content, as if pseudonyms had been made with "
                "other keys then; use the keys of the first time"
            )
        rows = batch.rows.num_rows
        known = rows if receipt.outcome is Outcome.DUPLICATE else receipt.duplicate_rows
        accepted, duplicate = accepted + rows - known, duplicate + known
        told(accepted + duplicate, table.num_rows)
    return Backfilled(path.name, table.num_rows, accepted, duplicate)


def file_producer(path: Path) -> str:
    """The producer of a file's batches, which follows from its content; raises BackfillError."""
    return f"backfill-{content_digest(path)[:32]}"


def content_digest(path: Path) -> str:
    """SHA-256 of a file, in hex; raises BackfillError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BackfillError(f"{path} cannot be read: {error.strerror}") from error


def read_events(path: Path) -> tuple[pa.Table, list[str]]:
    """The events of a file in the columns of `ARROW_SCHEMA` that it has, all good, and their ids or an empty list."""
    now_s = time.time()
    if path.suffix in (".json", ".ndjson"):
        return _from_json(path, now_s)
    frame = read_table(path)
    frame = frame.rename(
        {name: column for name, column in _COLUMN_OF.items() if name in frame.columns and name != column}
    )
    missing = [name for name in _NEEDED if name not in frame.columns]
    if missing:
        raise BackfillError(f"{path} lacks {', '.join(missing)}; events have {', '.join(ARROW_SCHEMA.names)}")
    ids = frame[EVENT_ID].cast(pl.String).fill_null("").to_list() if EVENT_ID in frame.columns else []
    table = _typed(frame.with_columns(_stamps(frame, path)), path)
    bad = faults(table, now_s, now_s - _BEGIN_S)
    _refuse(path, [(row, bad[row]) for row in sorted(bad)])
    return table, ids


def _from_json(path: Path, now_s: float) -> tuple[pa.Table, list[str]]:
    try:
        text = path.read_text(encoding="utf-8")
        rows = (
            [json.loads(line) for line in text.splitlines() if line] if path.suffix == ".ndjson" else json.loads(text)
        )
    except (OSError, ValueError) as error:
        raise BackfillError(f"{path} cannot be read: {error}") from error
    if isinstance(rows, dict):
        rows = rows.get("events", [rows])
    if not isinstance(rows, list):
        raise BackfillError(f"{path} holds a {type(rows).__name__}; a list of events is needed")
    batch, rejected = events_from_json(rows, "", 0, 0, now_s, now_s - _BEGIN_S)
    _refuse(path, [(one.row, one.reason) for one in rejected])
    ids = [str(row.get(EVENT_ID) or "") for row in rows]
    return pa.Table.from_batches([batch]).drop_columns(list(_KEY)), ids if any(ids) else []


def _refuse(path: Path, found: Sequence[tuple[int, str]]) -> None:
    if found:
        shown = "; ".join(f"row {row}: {reason}" for row, reason in found[:_SHOWN])
        raise BackfillError(
            f"{path}: {len(found)} events are not as they should be: {shown}. Nothing of the file was taken in"
        )


def _stamps(frame: pl.DataFrame, path: Path) -> pl.Expr:
    """Times in UTC: from times, from epoch seconds as floats, epoch nanoseconds as integers, or ISO 8601."""
    kind, stamp = frame.schema["timestamp"], pl.col("timestamp")
    if isinstance(kind, pl.Datetime):
        aware = stamp if kind.time_zone else stamp.dt.replace_time_zone("UTC")
        return aware.dt.convert_time_zone("UTC").cast(pl.Datetime("ns", "UTC"))
    if kind.is_float():
        return ((stamp * 1e6).round().cast(pl.Int64) * 1_000).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
    if kind.is_integer():
        return stamp.cast(pl.Int64).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
    if kind == pl.String():
        return stamp.str.to_datetime(time_unit="ns", time_zone="UTC")
    raise BackfillError(
        f"{path}: timestamp is of type {kind}; use a time, epoch seconds, or epoch nanoseconds as int64"
    )


def _typed(frame: pl.DataFrame, path: Path) -> pa.Table:
    names = [name for name in ARROW_SCHEMA.names if name in frame.columns and name not in _KEY]
    try:
        table = frame.select(names).to_arrow(compat_level=pl.CompatLevel.oldest())
        return table.cast(pa.schema([pa.field(name, ARROW_SCHEMA.field(name).type) for name in names]))
    except pa.ArrowException as error:
        raise BackfillError(f"{path}: a column is of the wrong type: {error}") from error


def _batches(table: pa.Table, ids: Sequence[str], producer: str) -> Iterator[Batch]:
    for sequence, start in enumerate(range(0, table.num_rows, _BATCH_EVENTS)):
        key = (producer, 0, sequence)
        rows = event_rows(table.slice(start, _BATCH_EVENTS), key)
        yield Batch(*key, rows, _hashed(rows, ids[start : start + _BATCH_EVENTS]))


def _hashed(rows: pa.RecordBatch, ids: Sequence[Any]) -> tuple[bytes, ...]:
    users = rows["user_id"].to_pylist() if ids else []
    return tuple(event_id(user, "", given) if given else b"" for user, given in zip(users, ids, strict=True))
