"""Request bodies as batches: each content type has its reader, and every row is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from metercast.event import BATCH_MEDIA_TYPE, COLUMNS_MEDIA_TYPE

from features.column_batches import TooLargeError, batch_from_columns
from features.contracts import Batch
from features.schema import Rejection, events_from_json
from features.typed_events import batch_from_json, batch_from_list
from serving.ingest.arrow_bodies import ARROW_MEDIA_TYPE, batch_from_arrow
from serving.ingest.batch_keys import EVENT_ID, content_key, event_ids, given_key
from serving.ingest.cloud_events import CLOUD_EVENT_MEDIA_TYPE, CLOUD_EVENTS_MEDIA_TYPE, event_of
from serving.ingest.encodings import unpack
from serving.ingest.limits import BodyError, Limits

__all__ = ["ARROW_MEDIA_TYPE", "MEDIA_TYPES", "NDJSON_MEDIA_TYPE", "BodyError", "Limits", "parse", "unpack"]

NDJSON_MEDIA_TYPE = "application/x-ndjson"
JSON_MEDIA_TYPE = "application/json"
_EVENT_ID = f'"{EVENT_ID}"'.encode()


def parse(body: bytes, media_type: str, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    """One batch and its rejected rows; raises BodyError when the body as a whole cannot be read.

    A sender without producer and sequence is given both from the content, so that a repeated body counts once; its
    events may have ids, so that each counts once in whatever body.
    """
    reader = _READERS.get(media_type)
    if reader is None:
        raise BodyError(415, f"content type {media_type!r:.80} is not supported; one of {', '.join(MEDIA_TYPES)}")
    return reader(body, limits, now_s)


def _own_form(body: bytes, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    """The profiler's own form."""
    quick = batch_from_json(body, now_s)
    if quick is not None:
        limits.check_rows(quick.rows.num_rows)
        return quick, []
    document = _decode(body)
    if not isinstance(document, dict) or not isinstance(document.get("events"), list):
        raise BodyError(400, 'a batch is {"producer", "epoch", "sequence", "events": [...]}')
    key = given_key(document)
    limits.check_rows(len(document["events"]))
    rows, rejected = events_from_json(document["events"], *key, now_s=now_s)
    return Batch(*key, rows), rejected


def _columns(body: bytes, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    """The profiler's own form, column by column."""
    try:
        return batch_from_columns(body, now_s, limits.rows, limits.unpacked_bytes)
    except TooLargeError as error:
        raise BodyError(413, str(error)) from error
    except ValueError as error:
        raise BodyError(400, f"the body is no columnar batch: {error}") from error


def _json(body: bytes, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    """One event, or a list of events."""
    if body.lstrip()[:1] == b"[" and _EVENT_ID not in body:
        quick = batch_from_list(body, content_key(body), now_s)
        if quick is not None:
            limits.check_rows(quick.rows.num_rows)
            return quick, []
    document = _decode(body)
    return _events(document if isinstance(document, list) else [document], body, limits, now_s)


def _ndjson(body: bytes, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    """An event a line."""
    try:
        events = msgspec.json.Decoder().decode_lines(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyError(400, f"the body is not valid NDJSON: {error}") from error
    return _events(events, body, limits, now_s)


def _cloud_event(body: bytes, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    """CloudEvents, structured: one envelope."""
    return _events([event_of(_decode(body))], body, limits, now_s)


def _cloud_events(body: bytes, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    """CloudEvents, batched: a list of envelopes."""
    envelopes = _decode(body)
    if not isinstance(envelopes, list):
        raise BodyError(400, f"a batch of CloudEvents is a list, not {type(envelopes).__name__}")
    limits.check_rows(len(envelopes))
    return _events([event_of(one) for one in envelopes], body, limits, now_s)


def _events(events: Sequence[Any], body: bytes, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    limits.check_rows(len(events))
    key = content_key(body)
    rows, rejected = events_from_json(events, *key, now_s=now_s)
    return Batch(*key, rows, event_ids(events, rejected)), rejected


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyError(400, f"the body is not valid JSON: {error}") from error


_READERS: Mapping[str, Callable[[bytes, Limits, float], tuple[Batch, list[Rejection]]]] = {
    COLUMNS_MEDIA_TYPE: _columns,
    BATCH_MEDIA_TYPE: _own_form,
    JSON_MEDIA_TYPE: _json,
    NDJSON_MEDIA_TYPE: _ndjson,
    ARROW_MEDIA_TYPE: batch_from_arrow,
    CLOUD_EVENT_MEDIA_TYPE: _cloud_event,
    CLOUD_EVENTS_MEDIA_TYPE: _cloud_events,
}
MEDIA_TYPES = tuple(_READERS)
