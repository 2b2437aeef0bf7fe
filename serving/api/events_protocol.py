"""The shortest way in for events: uvicorn's HTTP protocol, which answers a plain POST /v1/events without ASGI.

A request through ASGI costs more than a batch of a hundred events: a task, a body copied twice, two writes. What is not
plain (a browser, an unknown key, a body without its length, a trace) goes the usual way, which answers the same.
"""

from __future__ import annotations

import asyncio
import http
import json
import time
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from features.contracts import Batch, LogUnavailableError, Receipt
from features.database import DATABASE_ERRORS
from features.schema import Rejection
from serving.access.principal import Principal
from serving.api import problems
from serving.api.events import LIMITS, NOTHING, answer, check_may_write, problem_of, taken
from serving.api.known_heads import Head, KnownHeads
from serving.api.middleware import HEADERS, log_request, request_id
from serving.api.problems import ProblemError
from serving.api.security import INGEST, known_program
from serving.ingest.bodies import BodyError
from serving.ingest.committer import OverloadedError

if TYPE_CHECKING:
    from serving.api.door import Application
    from serving.platform import Platform

_PATH = INGEST.encode()
_LONG_WAY = frozenset((b"origin", b"cookie", b"sec-fetch-site", b"transfer-encoding", b"expect", b"upgrade"))
"""Headers of browsers and of anything else that the usual way has to look at."""

_ALWAYS = b"".join(b"%s: %s\r\n" % pair for pair in HEADERS)
_ANSWER = b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\ncontent-type: %b\r\n%bx-request-id: %b\r\n%b\r\n%b"
_NO_EVENT = asyncio.Event()


class _Exchange:
    """A request on the short way; stands where uvicorn keeps the exchange at hand, and is told of its end there."""

    __slots__ = ("disconnected", "head", "held_bytes", "is_whole", "keep_alive", "missing_bytes", "parts", "principal",
                 "response_complete", "started_s")  # fmt: skip
    message_event = _NO_EVENT

    def __init__(self, head: Head, principal: Principal, size_bytes: int) -> None:
        self.head, self.principal, self.held_bytes, self.missing_bytes = head, principal, size_bytes, size_bytes
        self.keep_alive = head.keep_alive
        self.started_s = time.perf_counter()
        self.parts: list[bytes] = []
        self.is_whole = self.response_complete = self.disconnected = False


class EventsProtocol(HttpToolsProtocol):
    """One connection. `application` is that of the server."""

    application: Application
    platform: Platform

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._heads = KnownHeads()
        self._is_between = True
        self._first = b""
        self._fed: _Exchange | None = None
        self._resting_since_s = 0.0

    def data_received(self, data: bytes) -> None:
        """Bytes from the socket: the body of a request whose head was known goes past the parser."""
        if self._fed is not None:
            self._feed(self._fed, data)
            return
        found = self._heads.find(data) if self._is_between else None
        exchange = self._admitted(found[0], found[2]) if found is not None else None
        if found is None or exchange is None:
            self._first = data if self._is_between else b""
            super().data_received(data)
            return
        self.cycle = self._fed = exchange  # type: ignore[assignment]
        self._feed(exchange, data[found[1] :])

    def on_message_begin(self) -> None:
        """The parser is at a request."""
        self._is_between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Takes the short way with a request where that can be done, and holds memory for its body."""
        first, self._first = self._first, b""
        found = self._plain(first)
        if found is None:
            super().on_headers_complete()
        else:
            self.cycle = found  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """A part of a body, of which at most so much comes as was held."""
        cycle: object = self.cycle
        if type(cycle) is _Exchange:
            cycle.parts.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is here."""
        self._is_between = True
        cycle: object = self.cycle
        if type(cycle) is _Exchange:
            self._take_in(cycle)
        else:
            super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives back what was held for a body that will never be whole."""
        cycle: object = self.cycle
        if type(cycle) is _Exchange and not cycle.is_whole:
            self._release(cycle)
        super().connection_lost(exc)

    def _feed(self, exchange: _Exchange, data: bytes) -> None:
        """A part of the body of a request whose head was known; what comes after it is the next request."""
        rest, missing = b"", exchange.missing_bytes - len(data)
        if missing < 0:
            data, rest, missing = data[:missing], data[missing:], 0
        exchange.parts.append(data)
        exchange.missing_bytes = missing
        if not missing:
            self._fed = None
            self._take_in(exchange)
            if rest:
                self.data_received(rest)

    def _plain(self, first: bytes) -> _Exchange | None:
        """The request that the parser is at, where it can go the short way; ``first`` began with its head, if given."""
        if self.url != _PATH or self.parser.get_method() != b"POST" or self.root_path:
            return None
        headers = {name: value.decode("latin-1") for name, value in self.headers}
        length = headers.get(b"content-length", "")
        is_plain = len(headers) == len(self.headers) and length.isascii() and length.isdigit()
        if not is_plain or not _LONG_WAY.isdisjoint(headers):
            return None
        head = Head(headers, self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive())
        exchange = self._admitted(head, int(length) if len(length) < 12 else LIMITS.body_bytes + 1)
        if exchange is not None and head.keep_alive:
            self._heads.remember(first, head)
        return exchange

    def _admitted(self, head: Head, size_bytes: int) -> _Exchange | None:
        """An exchange that may begin now, memory held for its body; None where the usual way has to look at it."""
        cycle: _Exchange | None = self.cycle  # type: ignore[assignment]
        is_behind = cycle is not None and not cycle.response_complete  # sent before the answer to another
        if is_behind or self.flow.write_paused or self.limit_concurrency is not None or self.application.is_traced:
            return None
        platform = self.platform
        try:
            principal = known_program(platform, head.text(b"authorization"), head.text(b"host"))
            if principal is None or size_bytes > LIMITS.body_bytes:
                return None
            platform.committer.hold(size_bytes)
        except (OverloadedError, *DATABASE_ERRORS):  # the usual way says so
            return None
        return _Exchange(head, principal, size_bytes)

    def _take_in(self, exchange: _Exchange) -> None:
        """Decode a body and hand it to the log; the answer is sent when it is durable."""
        committer = self.platform.committer
        body = exchange.parts[0] if len(exchange.parts) == 1 else b"".join(exchange.parts)
        exchange.parts, exchange.is_whole = [], True
        try:
            check_may_write(exchange.principal)
            batch, rejected = taken(
                self.platform,
                exchange.principal,
                body,
                exchange.head.text(b"content-type"),
                exchange.head.text(b"content-encoding"),
            )
            size_bytes = batch.rows.get_total_buffer_size()
            committer.hold(size_bytes)
            exchange.held_bytes += size_bytes
            if batch.rows.num_rows:
                waiting = committer.enqueue(batch)
                waiting.add_done_callback(lambda future: self._end(exchange, batch, rejected, future))
            else:
                self._send(exchange, 202, answer(batch, rejected, NOTHING))
        except Exception as error:
            self._refuse(exchange, error)

    def _end(
        self, exchange: _Exchange, batch: Batch, rejected: list[Rejection], future: asyncio.Future[Receipt]
    ) -> None:
        try:
            body = answer(batch, rejected, future.result())
        except Exception as error:
            self._refuse(exchange, error)
        else:
            self._send(exchange, 202, body)

    def _refuse(self, exchange: _Exchange, error: Exception) -> None:
        if isinstance(error, (BodyError, OverloadedError, LogUnavailableError)):
            error = problem_of(error)
        elif not isinstance(error, ProblemError):
            error = problems.unforeseen(INGEST, error)
        body = json.dumps(problems.document(INGEST, error.status, error.detail, **error.more)).encode()
        more = "".join(f"{name.lower()}: {value}\r\n" for name, value in (error.headers or {}).items())
        self._send(exchange, error.status, body, problems.MEDIA_TYPE.encode(), more.encode())

    def _send(
        self, exchange: _Exchange, status: int, body: bytes, media_type: bytes = b"application/json", more: bytes = b""
    ) -> None:
        """Write the whole answer at once, and go on as uvicorn does after one of its own."""
        self._release(exchange)
        number = request_id(exchange.head.text(b"x-request-id"))
        spent_s = time.perf_counter() - exchange.started_s
        self.application.state.requests.note("POST", INGEST, status, spent_s)
        log_request(number, "POST", INGEST, status, spent_s, exchange.principal.key_id)
        exchange.response_complete = True
        if self.transport.is_closing():
            return
        dated = b"".join([b"%b: %b\r\n" % pair for pair in self.server_state.default_headers])
        end = more if exchange.keep_alive else more + b"connection: close\r\n"
        words = (_STATUS[status], dated, len(body), media_type, _ALWAYS, number.encode(), end, body)
        self.transport.write(_ANSWER % words)
        if not exchange.keep_alive:
            self.transport.close()
        self._rest()

    def _rest(self) -> None:
        """After an answer: on with a request that was sent ahead, or wait for the next one, at most so long."""
        if self.pipeline or self.flow.read_paused or self.timeout_keep_alive_task is None:
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        self._resting_since_s = self.loop.time()

    def on_response_complete(self) -> None:
        """Also after answers of the usual way."""
        self._resting_since_s = self.loop.time()
        super().on_response_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection that has rested long enough; one timer does for many requests on the short way."""
        left_s = self._resting_since_s + self.timeout_keep_alive - self.loop.time()
        cycle: _Exchange | None = self.cycle  # type: ignore[assignment]
        if cycle is not None and not cycle.response_complete:
            self.timeout_keep_alive_task = None  # the end of the answer sets another one
        elif left_s > 0.01:
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _release(self, exchange: _Exchange) -> None:
        self.platform.committer.release(exchange.held_bytes)
        exchange.held_bytes = 0


_STATUS = {status.value: b"%d %s" % (status.value, status.phrase.encode()) for status in http.HTTPStatus}


def protocol_of(application: Any) -> type[EventsProtocol]:
    """The protocol of a server of this application, as uvicorn's setting ``http``."""
    known = {"application": application, "platform": application.state.platform}
    return type("EventsProtocol", (EventsProtocol,), known)
