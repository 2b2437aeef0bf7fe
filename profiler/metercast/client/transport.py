"""Requests over HTTP: the key, JSON, problem details as exceptions, and waiting when the server says so."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

WAITS = 3
LONGEST_WAIT_S = 30.0


class ProblemError(RuntimeError):
    """The server refused: ``status``, and the members of its problem document (RFC 9457) in ``document``."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(str(document.get("detail") or document.get("title") or f"status {status}"))
        self.status = status
        self.document = dict(document)


class UnreachableError(ConnectionError):
    """There is no server at the address, or it went away."""


class Transport:
    """Requests to one server with one key."""

    def __init__(self, url: str, key: str, timeout_s: float, ca_file: str) -> None:
        """Raises ValueError for an address that is no http(s) URL."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no URL of a server. Write http://HOST:PORT or https://HOST.")
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._context = ssl.create_default_context(cafile=ca_file or None) if url.startswith("https://") else None

    def json(self, method: str, path: str, query: Mapping[str, Any] | None = None, body: Any = None) -> Any:
        """The JSON answer (None for one without a body); raises ProblemError and UnreachableError.

        429 and 503 that say when to come back are waited for, a few times.
        """
        headers = {} if body is None else {"Content-Type": "application/json"}
        sent = None if body is None else json.dumps(body).encode()
        for attempt in range(WAITS + 1):
            try:
                with self.open(method, path, query, sent, headers) as response:
                    text = response.read()
                return json.loads(text) if text else None
            except ProblemError as problem:
                wait_s = float(problem.document.get("retry_after_s", 0.0))
                if attempt == WAITS or not 0 < wait_s <= LONGEST_WAIT_S:
                    raise
                time.sleep(wait_s)
        raise AssertionError("unreachable")

    def open(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> http.client.HTTPResponse:
        """The open response, for the caller to read and close; raises ProblemError and UnreachableError."""
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        address = f"{self.url}{path}" + (f"?{urlencode(asked, doseq=True)}" if asked else "")
        request = urllib.request.Request(address, body, self._headers | dict(headers or {}), method=method)  # noqa: S310
        try:
            response: http.client.HTTPResponse = urllib.request.urlopen(  # noqa: S310 -- http(s), checked above
                request, timeout=timeout_s or self._timeout_s, context=self._context
            )
            return response
        except urllib.error.HTTPError as error:
            raise _problem(error) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise UnreachableError(
                f"no server at {self.url} ({reason}); start one with `metercast serve` or mend the address"
            ) from error


def _problem(error: urllib.error.HTTPError) -> ProblemError:
    with error:
        text = error.read()
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"status": error.code, "detail": f"status {error.code}: {text[:200].decode(errors='replace')}"}
    wait = error.headers.get("Retry-After", "")
    if wait.isdigit():
        document["retry_after_s"] = float(wait)
    return ProblemError(error.code, document)
