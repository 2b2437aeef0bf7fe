"""Keys under which a batch counts once: the sender's own, or made from the content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from features.schema import LONGEST_NAME, Rejection
from serving.ingest.limits import BodyError

EVENT_ID = "eventID"
"""Member of a JSON event that names it, for senders without sequences."""


def given_key(document: Mapping[str, Any]) -> tuple[str, int, int]:
    """Producer, epoch and sequence of a document; raises BodyError 400 for others than a name and two counts."""
    producer, epoch, sequence = (document.get(name) for name in ("producer", "epoch", "sequence"))
    numbers = all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**63 for n in (epoch, sequence))
    if not _is_name(producer) or not numbers:
        raise BodyError(
            400,
            f"producer must be a string and epoch and sequence integers >= 0; got {producer!r:.60}, {epoch!r:.30}, "
            f"{sequence!r:.30}",
        )
    return producer, epoch, sequence  # type: ignore[return-value]


def _is_name(value: object) -> bool:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME or "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def content_key(body: bytes) -> tuple[str, int, int]:
    """A key from the content, so that the same body counts once, whoever sends it again."""
    digest = hashlib.sha256(body).digest()
    return f"content-{digest[:16].hex()}", 0, int.from_bytes(digest[16:23], "big")


def event_ids(events: Sequence[Any], rejected: Sequence[Rejection]) -> tuple[bytes, ...]:
    """Ids of the rows that were taken, b"" where an event has none; empty where no event has one.

    An id counts within its user and, for CloudEvents, its source, so that nobody can use up another's ids.
    """
    gone = {one.row for one in rejected}
    taken = [event for row, event in enumerate(events) if row not in gone]
    ids = tuple(_hashed(event) if event.get(EVENT_ID) else b"" for event in taken)
    return ids if any(ids) else ()


def _hashed(event: Mapping[str, Any]) -> bytes:
    return event_id(str(event["userID"]), str(event.get("eventSource", "")), str(event[EVENT_ID]))


def event_id(user: str, source: str, given: str) -> bytes:
    """The id of an event, as the log remembers it."""
    name = "\0".join((user, source, given))
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
