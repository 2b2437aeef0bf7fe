"""Heads of requests that a connection has sent before: a program sends the same with each batch, but for the length.

A head is always parsed by the HTTP parser the first time. The same bytes again mean the same, whatever follows them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from serving.api.security import INGEST

_START = f"POST {INGEST} HTTP/1.".encode()
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]{1,11})\r\n", re.IGNORECASE)
_LONGEST = 4_096
_KEPT = 16
_OWN = frozenset((b"x-request-id", b"traceparent", b"idempotency-key"))
"""Headers that differ with every request: remembering such a head would be of no use."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a head says, the length of its body aside; names are in small letters."""

    headers: Mapping[bytes, str]
    keep_alive: bool

    def text(self, name: bytes) -> str:
        """A header, empty where it is missing."""
        return self.headers.get(name, "")


class KnownHeads:
    """Those of one connection, the last few."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes) -> tuple[Head, int, int] | None:
        """The head that ``data`` begins with, where its body begins and how many bytes that has; None if unknown."""
        found = _split(data) if self._known else None
        if found is None:
            return None
        key, start, size_bytes = found
        head = self._known.get(key)
        return None if head is None else (head, start, size_bytes)

    def remember(self, data: bytes, head: Head) -> None:
        """Note what the parser made of the head that ``data`` begins with."""
        found = _split(data)
        if found is None or not _OWN.isdisjoint(head.headers):
            return
        key = found[0]
        if key.count(b"\n") != len(head.headers) + 2:  # the parser saw another end of it, or a header twice
            return
        if len(self._known) == _KEPT:
            self._known.clear()
        self._known[key] = head


def _split(data: bytes) -> tuple[bytes, int, int] | None:
    """A head without its length, where it ends, and its length; None for what is no plain request with events."""
    if not data.startswith(_START):
        return None
    end = data.find(b"\r\n\r\n", 0, _LONGEST)
    length = _LENGTH.search(data, 0, end + 2) if end > 0 else None
    if length is None:
        return None
    return data[: length.start(1)] + data[length.end(1) : end + 4], end + 4, int(length[1])
