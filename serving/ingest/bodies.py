"""Request bodies as batches: the profiler's own form, JSON, NDJSON and Arrow, each checked row by row."""

from __future__ import annotations

import gzip
import hashlib
import io
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from metercast.event import BATCH_MEDIA_TYPE, COLUMNS_MEDIA_TYPE, MICRO_OPERATION_TYPES

from features.column_batches import TooLargeError, batch_from_columns
from features.contracts import Batch
from features.schema import ARROW_SCHEMA, LONGEST_NAME, NEWEST_S, OLDEST_S, Rejection, events_from_json
from features.typed_events import batch_from_json, batch_from_list
from serving.ingest.arrow_size import unpacked_bytes

ARROW_MEDIA_TYPE = "application/vnd.apache.arrow.stream"
NDJSON_MEDIA_TYPE = "application/x-ndjson"
JSON_MEDIA_TYPE = "application/json"
MEDIA_TYPES = (COLUMNS_MEDIA_TYPE, BATCH_MEDIA_TYPE, JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE, ARROW_MEDIA_TYPE)


class BodyError(ValueError):
    """A body that cannot be taken; ``status`` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may hold: bytes as sent, bytes unpacked, and rows."""

    body_bytes: int = 16 << 20
    unpacked_bytes: int = 64 << 20
    rows: int = 100_000


def unpack(body: bytes, encoding: str, limits: Limits) -> bytes:
    """The body without its content encoding; raises BodyError 415 for an unknown one, 413 for one too large."""
    if len(body) > limits.body_bytes:
        raise BodyError(413, f"the body has {len(body)} bytes, at most {limits.body_bytes}; send smaller batches")
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise BodyError(415, f"content encoding {encoding!r} is not supported; use gzip or none")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            unpacked = packed.read(limits.unpacked_bytes + 1)
    except (OSError, EOFError) as error:
        raise BodyError(400, f"the gzip body is damaged: {error}") from error
    if len(unpacked) > limits.unpacked_bytes:
        raise BodyError(413, f"the body unpacks to more than {limits.unpacked_bytes} bytes; send smaller batches")
    return unpacked


def parse(body: bytes, media_type: str, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    """One batch and its rejected rows; raises BodyError when the body as a whole cannot be read.

    A sender without producer and sequence is given both from the content, so that a repeated body counts once.
    """
    if media_type == ARROW_MEDIA_TYPE:
        return _arrow(body, limits, now_s)
    if media_type == COLUMNS_MEDIA_TYPE:
        return _columns(body, limits, now_s)
    quick = _quick(body, media_type, now_s)
    if quick is not None and quick.rows.num_rows <= limits.rows:
        return quick, []
    if media_type == BATCH_MEDIA_TYPE:
        document = _decode(body)
        if not isinstance(document, dict) or not isinstance(document.get("events"), list):
            raise BodyError(400, 'a batch is {"producer", "epoch", "sequence", "events": [...]}')
        events = document["events"]
        key = _key(document)
    elif media_type in (JSON_MEDIA_TYPE, NDJSON_MEDIA_TYPE):
        document = _decode(body) if media_type == JSON_MEDIA_TYPE else _lines(body)
        events = document if isinstance(document, list) else [document]
        key = _content_key(body)
    else:
        raise BodyError(415, f"content type {media_type!r} is not supported; one of {', '.join(MEDIA_TYPES)}")
    if len(events) > limits.rows:
        raise BodyError(413, f"{len(events)} events in one body, at most {limits.rows}; send smaller batches")
    rows, rejected = events_from_json(events, *key, now_s=now_s)
    return Batch(*key, rows), rejected


def _quick(body: bytes, media_type: str, now_s: float) -> Batch | None:
    """The batch of a body without a flaw, or None; the way below gives the same, slower, and the reasons."""
    if media_type == BATCH_MEDIA_TYPE:
        return batch_from_json(body, now_s)
    if media_type == JSON_MEDIA_TYPE and body.lstrip()[:1] == b"[":
        return batch_from_list(body, _content_key(body), now_s)
    return None


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BodyError(400, f"the body is not valid JSON: {error}") from error


def _lines(body: bytes) -> list[Any]:
    try:
        return msgspec.json.Decoder().decode_lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BodyError(400, f"the body is not valid NDJSON: {error}") from error


def _key(document: dict[str, Any]) -> tuple[str, int, int]:
    producer, epoch, sequence = (document.get(name) for name in ("producer", "epoch", "sequence"))
    numbers = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**63 for n in (epoch, sequence))
    if not isinstance(producer, str) or not 0 < len(producer) <= LONGEST_NAME or not numbers:
        raise BodyError(
            400,
            f"producer must be a string and epoch and sequence integers >= 0; got {producer!r:.60}, {epoch!r:.30}, "
            f"{sequence!r:.30}",
        )
    return producer, epoch, sequence  # type: ignore[return-value]


def _content_key(body: bytes) -> tuple[str, int, int]:
    digest = hashlib.sha256(body).digest()
    return f"content-{digest[:16].hex()}", 0, int.from_bytes(digest[16:23], "big")


def _columns(body: bytes, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    try:
        return batch_from_columns(body, now_s, limits.rows, limits.unpacked_bytes)
    except TooLargeError as error:
        raise BodyError(413, str(error)) from error
    except ValueError as error:
        raise BodyError(400, f"the body is no columnar batch: {error}") from error


def _arrow(body: bytes, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    try:
        table = _checked_table(body, limits)
    except BodyError:
        raise
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise BodyError(400, f"the body is no Arrow stream of events: {error}") from error
    keys = table.select(["producer", "epoch", "sequence"]).group_by(["producer", "epoch", "sequence"]).aggregate([])
    if keys.num_rows != 1:
        raise BodyError(400, f"an Arrow body is one batch: one producer, epoch and sequence, not {keys.num_rows}")
    key = _key(keys.to_pylist()[0])
    good = _good_rows(table, now_s)
    rejected = [
        Rejection(row, "a value is missing, negative, not finite, of an unknown type, or its time is too far off")
        for row in pc.indices_nonzero(pc.invert(good)).to_pylist()
    ]
    kept = (table.filter(good) if rejected else table).combine_chunks().to_batches()
    rows = kept[0] if kept else pa.RecordBatch.from_pylist([], schema=ARROW_SCHEMA)
    return Batch(*key, rows), rejected


def _checked_table(body: bytes, limits: Limits) -> pa.Table:
    """The events of a stream in `ARROW_SCHEMA`; sizes are checked before anything is unpacked or made plain."""
    size = unpacked_bytes(body)
    if size > limits.unpacked_bytes:
        raise BodyError(413, f"the body unpacks to {size} bytes, at most {limits.unpacked_bytes}; send smaller batches")
    table = pa.ipc.open_stream(body).read_all()
    if table.num_rows > limits.rows:
        raise BodyError(413, f"{table.num_rows} rows in one body, at most {limits.rows}; send smaller batches")
    table.validate(full=True)
    table = table.select(ARROW_SCHEMA.names)
    _check_expansion(table)
    return table.cast(ARROW_SCHEMA)


def _check_expansion(table: pa.Table) -> None:
    """Refuse columns whose rows share long values: a few bytes of them would become very many as plain strings."""
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_timestamp(kind)
        if not (plain or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise BodyError(400, f"column {name} is of type {column.type}; use plain or dictionary-encoded columns")
        if pa.types.is_dictionary(column.type) and not plain:
            longest = max((pc.max(pc.utf8_length(chunk.dictionary)).as_py() or 0 for chunk in column.chunks), default=0)
            if longest > LONGEST_NAME:
                raise BodyError(400, f"column {name} has a value of {longest} characters, at most {LONGEST_NAME}")


def _good_rows(table: pa.Table, now_s: float) -> pa.ChunkedArray:
    """Which rows pass the same checks as JSON rows do."""
    stamp = table["timestamp"].cast(pa.int64())
    good = pc.and_(
        pc.less_equal(stamp, int((now_s + NEWEST_S) * 1e9)), pc.greater_equal(stamp, int((now_s - OLDEST_S) * 1e9))
    )
    good = pc.and_(good, pc.is_in(table["micro_operation_type"], pa.array(MICRO_OPERATION_TYPES)))
    for field in ARROW_SCHEMA:
        good = pc.and_(good, pc.is_valid(table[field.name]))
        if field.type == pa.float64():
            good = pc.and_(good, pc.and_(pc.is_finite(table[field.name]), pc.greater_equal(table[field.name], 0.0)))
        elif field.name.endswith(("_cycles", "_bytes")):
            good = pc.and_(good, pc.greater_equal(table[field.name], 0))
        elif field.name in ("user_id", "operation_id"):
            length = pc.utf8_length(table[field.name])
            good = pc.and_(good, pc.and_(pc.greater(length, 0), pc.less_equal(length, LONGEST_NAME)))
            good = pc.and_(good, pc.invert(pc.match_substring(table[field.name], "|")))
    return pc.fill_null(good, False)
