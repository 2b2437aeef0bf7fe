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
_NO_EVENT = asyncio.Event()


class _Exchange:
    """A request on the short way; stands where uvicorn keeps the exchange at hand, and is told of its end there."""

    __slots__ = ("disconnected", "headers", "held_bytes", "is_whole", "keep_alive", "parts", "principal",
                 "response_complete", "started_s")  # fmt: skip
    message_event = _NO_EVENT

    def __init__(self, headers: dict[bytes, bytes], principal: Principal, held_bytes: int, keep_alive: bool) -> None:
        self.headers, self.principal, self.held_bytes, self.keep_alive = headers, principal, held_bytes, keep_alive
        self.started_s = time.perf_counter()
        self.parts: list[bytes] = []
        self.is_whole = self.response_complete = self.disconnected = False

    def text(self, name: bytes) -> str:
        """A header, empty where it is missing."""
        return self.headers.get(name, b"").decode("latin-1")


class EventsProtocol(HttpToolsProtocol):
    """One connection. `application` is that of the server."""

    application: Application
    platform: Platform

    def on_headers_complete(self) -> None:
        """Takes the short way with a request where that can be done, and holds memory for its body."""
        found = self._plain()
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

    def _plain(self) -> _Exchange | None:
        application = self.application
        if self.url != _PATH or self.parser.get_method() != b"POST" or application.is_traced or self.root_path:
            return None
        cycle: _Exchange | None = self.cycle  # type: ignore[assignment]
        is_behind = cycle is not None and not cycle.response_complete  # sent before the answer to another
        if is_behind or self.flow.write_paused or self.limit_concurrency is not None:
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if len(headers) != len(self.headers) or not length.isdigit() or not _LONG_WAY.isdisjoint(headers):
            return None
        size_bytes = int(length) if len(length) < 12 else LIMITS.body_bytes + 1
        platform = self.platform
        authorization, host = (headers.get(name, b"").decode("latin-1") for name in (b"authorization", b"host"))
        try:
            principal = known_program(platform, authorization, host)
            if principal is None or size_bytes > LIMITS.body_bytes:
                return None
            platform.committer.hold(size_bytes)
        except (OverloadedError, *DATABASE_ERRORS):  # the usual way says so
            return None
        keep_alive = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        return _Exchange(headers, principal, size_bytes, keep_alive)

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
                exchange.text(b"content-type"),
                exchange.text(b"content-encoding"),
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
        number = request_id(exchange.text(b"x-request-id"))
        spent_s = time.perf_counter() - exchange.started_s
        self.application.state.requests.note("POST", INGEST, status, spent_s)
        log_request(number, "POST", INGEST, status, spent_s, exchange.principal.key_id)
        exchange.response_complete = True
        if self.transport.is_closing():
            return
        words = [b"HTTP/1.1 ", _STATUS[status], b"\r\n"]
        words += [b"%s: %s\r\n" % pair for pair in self.server_state.default_headers]
        words.append(b"content-length: %d\r\ncontent-type: %s\r\n" % (len(body), media_type))
        words += [_ALWAYS, b"x-request-id: ", number.encode(), b"\r\n", more]
        words += [b"\r\n" if exchange.keep_alive else b"connection: close\r\n\r\n", body]
        self.transport.write(b"".join(words))
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _release(self, exchange: _Exchange) -> None:
        self.platform.committer.release(exchange.held_bytes)
        exchange.held_bytes = 0


_STATUS = {status.value: b"%d %s" % (status.value, status.phrase.encode()) for status in http.HTTPStatus}


def protocol_of(application: Any) -> type[EventsProtocol]:
    """The protocol of a server of this application, as uvicorn's setting ``http``."""
    known = {"application": application, "platform": application.state.platform}
    return type("EventsProtocol", (EventsProtocol,), known)
