"""Server-sent events of /v1/live as Python objects, resumed after a broken connection."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from metercast.client.transport import Transport, UnreachableError

SILENCE_S = 60.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event: its kind (window, anomaly, status), its place in the stream where it has one, and what it says."""

    kind: str
    id: int | None
    data: dict[str, Any]


def live_events(transport: Transport, user: str | None, last_event_id: int | None) -> Iterator[LiveEvent]:
    """Events until the caller stops asking; raises UnreachableError when the first connection fails.

    Later failures are waited out, longer each time, and the stream goes on after the last event that was heard.
    """
    heard, wait_s, connected = last_event_id, FIRST_WAIT_S, False
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": str(heard)} if heard is not None else {})
        try:
            with transport.open("GET", "/v1/live", {"user": user}, headers=headers, timeout_s=SILENCE_S) as response:
                connected, wait_s = True, FIRST_WAIT_S
                for event in parse(response):
                    heard = event.id if event.id is not None else heard
                    yield event
        except UnreachableError:
            if not connected:
                raise
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def parse(lines: Iterable[bytes]) -> Iterator[LiveEvent]:
    """Events of a stream in the text form of the HTML standard (section 9.2.6); comments are passed over."""
    kind, number, data = "message", None, list[str]()
    for raw in lines:
        line = raw.decode().rstrip("\r\n")
        if not line:
            if data:
                yield LiveEvent(kind, number, json.loads("\n".join(data)))
            kind, number, data = "message", None, []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            kind = value
        elif field == "id":
            number = int(value)
        elif field == "data":
            data.append(value)
