"""Around every request: its id, security and rate-limit headers, ETag, one log line, and the counts of /metrics."""

from __future__ import annotations

import hashlib
import itertools
import logging
import re
import secrets
import threading
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.problems import unexpected

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
_TAGGED_AT_MOST = 4 << 20
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROCESS, _numbers = secrets.token_hex(4), itertools.count(1)
_logger = logging.getLogger("metercast.requests")


class Requests:
    """Counts and seconds of requests by method, route and status class; written by all, read by /metrics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[tuple[str, str, int], list[float]] = {}

    def note(self, method: str, route: str, status: int, spent_s: float) -> None:
        """Add one request."""
        with self._lock:
            found = self._found.setdefault((method, route, status), [0, 0.0])
            found[0] += 1
            found[1] += spent_s

    def lines(self) -> list[str]:
        """In the Prometheus text format."""
        lines = [
            "# HELP metercast_http_requests_total Requests answered",
            "# TYPE metercast_http_requests_total counter",
        ]
        about = "# HELP metercast_http_request_seconds_total Seconds until requests were answered"
        seconds = [about, "# TYPE metercast_http_request_seconds_total counter"]
        with self._lock:
            for (method, route, status), (count, spent_s) in sorted(self._found.items()):
                labels = f'{{method="{method}",route="{route}",status="{status}"}}'
                lines.append(f"metercast_http_requests_total{labels} {count}")
                seconds.append(f"metercast_http_request_seconds_total{labels} {spent_s:.6f}")
        return lines + seconds


class RequestFrame:
    """The ASGI application that wraps the routes; streams pass through it untouched."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        started = time.perf_counter()
        try:
            await self._app(scope, receive, exchange.send)
        except Exception as error:
            if exchange.has_begun:  # what was sent cannot be taken back: the server cuts the connection, and logs it
                raise
            exchange = _Exchange(scope, send)  # forgets what is held back
            await unexpected(Request(scope), error)(scope, receive, exchange.send)
        finally:
            spent_s = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            self._requests.note(scope["method"], route, exchange.status, spent_s)
            principal = scope.get("state", {}).get("principal")
            key_id = principal.key_id if principal is not None else None
            log_request(exchange.request_id, scope["method"], scope["path"], exchange.status, spent_s, key_id)


def log_request(request_id: str, method: str, path: str, status: int, spent_s: float, key_id: str | None) -> None:
    """One line a request, where the operator asked for them."""
    if not _logger.isEnabledFor(logging.INFO):
        return
    entry = {
        "request_id": request_id,
        "method": method,
        "path": path,
        "status": status,
        "duration_ms": round(spent_s * 1_000, 3),
        "key_id": key_id,
    }
    _logger.info("request", extra=entry)


def request_id(given: str) -> str:
    """The sender's own id of a request where it is plain, else a new one."""
    return given if given and _REQUEST_ID.fullmatch(given) else f"{_PROCESS}{next(_numbers):08x}"


class _Exchange:
    """One answer on its way out: headers are added, and the body of a GET is held back until its ETag is known."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._asked = dict(scope["headers"])
        self.request_id = request_id(self._asked.get(b"x-request-id", b"").decode("latin-1"))
        self.status = 500
        self.has_begun = False
        self._held: Message | None = None

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message["headers"])
            present = {name.lower() for name, _ in headers}
            headers += [pair for pair in HEADERS if pair[0] not in present]
            headers.append((b"x-request-id", self.request_id.encode()))
            limits: dict[str, str] = self._scope.get("state", {}).get("rate_limit", {})
            headers += [(name.lower().encode(), value.encode()) for name, value in limits.items()]
            message = {**message, "headers": headers}
            if self._taggable(dict(headers)):
                self._held = message
                return
        self.has_begun = True
        if self._held is not None:
            await self._tagged(message)
        else:
            await self._send(message)

    def _taggable(self, headers: dict[bytes, bytes]) -> bool:
        length = int(headers.get(b"content-length", b"-1"))
        return (
            self._scope["method"] == "GET"
            and self.status == 200
            and 0 <= length <= _TAGGED_AT_MOST
            and b"etag" not in headers
            and self._scope["path"].startswith("/v1/")
        )

    async def _tagged(self, message: Message) -> None:
        start, self._held = self._held, None
        if start is None:
            raise RuntimeError("no answer is held back")
        body = message.get("body", b"")
        if message.get("more_body"):  # it comes in parts after all: no tag
            await self._send(start)
            await self._send(message)
            return
        tag = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'.encode()
        headers = [*start["headers"], (b"etag", tag)]
        if not {name for name, _ in headers} & {b"cache-control"}:
            headers.append((b"cache-control", b"private, no-cache"))
        known = [one.strip() for one in self._asked.get(b"if-none-match", b"").split(b",")]
        if tag in known or b"*" in known:
            self.status, body = 304, b""
            headers = [pair for pair in headers if pair[0] not in (b"content-length", b"content-type")]
        await self._send({**start, "status": self.status, "headers": headers})
        await self._send({**message, "body": body})
