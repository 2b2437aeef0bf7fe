"""Sends one batch over HTTP and says what became of it."""

from __future__ import annotations

import http.client
import json
import select
import ssl
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from metercast.event import COLUMNS_MEDIA_TYPE
from metercast.shipping.batch import GZIP_MAGIC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from metercast.settings import Settings

ACCEPTED, REFUSED, LATER = "accepted", "refused", "later"
_REFUSALS = (400, 409, 413, 415, 422)
_LONGEST_WAIT_S = 3600.0
_LOOK_S = 0.1
"""How often a client that waits for an answer does something else."""


class Reply:
    """What the server said: ACCEPTED, REFUSED (never send it again) or LATER, with the seconds it asked for.

    `rejected_events` are those of an accepted batch that the server did not take.
    """

    __slots__ = ("outcome", "reason", "rejected_events", "retry_after_s")

    def __init__(self, outcome: str, reason: str = "", retry_after_s: float = 0.0, rejected_events: int = 0) -> None:
        self.outcome = outcome
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.rejected_events = rejected_events


class _InOnePiece:
    """Sends the head of a request together with its body, which is half the work of sending them one by one."""

    _head = b""

    def send(self, data: Any) -> None:
        """Keep the head until the body is there; every request has one."""
        if not self._head:
            self._head = data
            return
        head, self._head = self._head, b""
        super().send(head + data)  # type: ignore[misc]


class _Connection(_InOnePiece, http.client.HTTPConnection): ...


class _SecureConnection(_InOnePiece, http.client.HTTPSConnection): ...


class Client:
    """A kept-alive connection to ``URL/v1/events``."""

    def __init__(self, settings: Settings) -> None:
        parts = urlsplit(settings.to)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{settings.to!r} is no URL of a server. Write http://HOST:PORT, https://HOST or a directory."
            )
        self._parts = parts
        self._path = parts.path.rstrip("/") + "/v1/events"
        self._timeout_s = settings.timeout_s
        self._context = None
        if parts.scheme == "https":
            self._context = ssl.create_default_context(cafile=settings.ca_file or None)
        self._headers = {"Content-Type": COLUMNS_MEDIA_TYPE}
        if settings.api_key:
            self._headers["Authorization"] = f"Bearer {settings.api_key}"
        self.is_local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        self.while_waiting: Callable[[], None] | None = None
        self._connection: http.client.HTTPConnection | None = None

    def send(self, body: bytes, timeout_s: float | None = None) -> Reply:
        """POST a batch; network errors and 5xx count as LATER."""
        timeout_s = self._timeout_s if timeout_s is None else max(0.05, timeout_s)
        headers = self._headers | {"Content-Encoding": "gzip"} if body.startswith(GZIP_MAGIC) else self._headers
        try:
            response, text = self._exchange(body, headers, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            return Reply(LATER, f"{type(error).__name__}: {error}")
        if 200 <= response.status < 300:
            return _accepted(response.status, text)
        reason = f"{response.status} {response.reason} {text[:300].decode(errors='replace')}"
        if response.status in _REFUSALS:
            return Reply(REFUSED, reason)
        return Reply(LATER, reason, _seconds(response.headers.get("Retry-After", "")))

    def _exchange(
        self, body: bytes, headers: dict[str, str], timeout_s: float
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request; a kept connection that the server has meanwhile closed is replaced, once."""
        is_kept = self._connection is not None
        connection = self._connect(timeout_s)
        try:
            connection.request("POST", self._path, body, headers)
            self._await_answer(connection, timeout_s)
            response = connection.getresponse()
            return response, response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if is_kept and isinstance(error, (ConnectionError, http.client.BadStatusLine)):
                return self._exchange(body, headers, timeout_s)
            raise

    def _await_answer(self, connection: http.client.HTTPConnection, timeout_s: float) -> None:
        """Wait until the answer begins, and let the ring be emptied meanwhile."""
        if self.while_waiting is None or connection.sock is None:
            return
        ready = select.poll()
        ready.register(connection.sock, select.POLLIN)
        end_s = time.monotonic() + timeout_s
        while not ready.poll(_LOOK_S * 1000):
            self.while_waiting()
            if time.monotonic() >= end_s:
                raise TimeoutError(f"no answer within {timeout_s:g} s")

    def close(self) -> None:
        """Give the connection up; the next batch opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        connection = self._connection
        if connection is None:
            host, port = self._parts.hostname or "", self._parts.port
            if self._context is not None:
                connection = _SecureConnection(host, port, timeout=timeout_s, context=self._context)
            else:
                connection = _Connection(host, port, timeout=timeout_s)
            self._connection = connection
        connection.timeout = timeout_s
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        return connection


def _accepted(status: int, text: bytes) -> Reply:
    """The answer to an accepted batch, which counts what was taken and names the rows that were not.

    Whatever else answers at that address, as a proxy's page or a program that has taken over the port, has not kept the
    batch, though it may say 200.
    """
    try:
        answer = json.loads(text)
        taken, rejected = answer["accepted"], answer.get("rejected") or ()
        reason = f"the server did not take {len(rejected)} events: {rejected[0].get('reason')}" if rejected else ""
    except (ValueError, AttributeError, TypeError, KeyError):
        taken = None
    if type(taken) is not int:
        told = text[:80].decode(errors="replace")
        return Reply(LATER, f"{status}, but no receipt of a Metercast server: {told!r}. Check the URL")
    return Reply(ACCEPTED, reason, rejected_events=len(rejected))


def _seconds(text: str) -> float:
    """`Retry-After` in seconds from now: a number or a date (RFC 9110, 10.2.3), an hour at most."""
    try:
        wait_s = float(text)
    except ValueError:
        try:
            wait_s = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError):
            return 0.0
    return min(_LONGEST_WAIT_S, max(0.0, wait_s))
