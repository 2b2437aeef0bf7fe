"""CloudEvents 1.0 in JSON, structured or batched, as events: `data` is an event, `source` and `id` name it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from features.schema import LONGEST_NAME, Unreadable
from serving.ingest.batch_keys import EVENT_ID

CLOUD_EVENT_MEDIA_TYPE = "application/cloudevents+json"
CLOUD_EVENTS_MEDIA_TYPE = "application/cloudevents-batch+json"

_REQUIRED = ("specversion", "id", "source", "type")


def event_of(envelope: Any) -> Mapping[str, Any] | Unreadable:
    """The event inside a CloudEvent, with `time` and `subject` as its timestamp and userID where it has none."""
    if not isinstance(envelope, Mapping):
        return Unreadable(f"a CloudEvent must be an object, not {type(envelope).__name__}")
    for name in _REQUIRED:
        value = envelope.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
            return Unreadable(f"CloudEvent attribute {name} must be a string, not {value!r:.60}")
    if envelope["specversion"] != "1.0":
        return Unreadable(f"specversion {envelope['specversion']!r:.20} is not supported; send 1.0")
    data = envelope.get("data")
    if not isinstance(data, Mapping):
        return Unreadable(f"data must be an event as a JSON object, not {type(data).__name__}")
    event = dict(data) | {EVENT_ID: envelope["id"], "eventSource": envelope["source"]}
    if "userID" not in event and isinstance(envelope.get("subject"), str):
        event["userID"] = envelope["subject"]
    if "timestamp" not in event and "time" in envelope:
        moment = _seconds(envelope["time"])
        if moment is None:
            return Unreadable(f"time {envelope['time']!r:.60} is no RFC 3339 time, e.g. 2026-11-01T00:00:00Z")
        event["timestamp"] = moment
    return event


def _seconds(text: Any) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        return None
    try:
        return moment.astimezone(UTC).timestamp()
    except OverflowError:
        return None
