"""Questions to a running server over HTTP: what `metercast estimate` and the demo ask."""

from __future__ import annotations

import http.client
import json
import threading
import urllib.error
import urllib.request
from collections import deque
from typing import Any
from urllib.parse import urlencode, urlsplit


class ApiError(RuntimeError):
    """The platform answered with a problem; the message is its detail."""


class Api:
    """Requests to one server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: object) -> dict[str, Any]:
        """GET a JSON document; raises ApiError."""
        return self._send(urllib.request.Request(f"{self.url}{path}?{urlencode(query)}"))  # noqa: S310

    def post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        """POST a JSON document; raises ApiError."""
        body = json.dumps(document).encode()
        headers = {"Content-Type": "application/json"}
        return self._send(urllib.request.Request(f"{self.url}{path}", body, headers))  # noqa: S310

    @staticmethod
    def _send(request: urllib.request.Request) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310 -- our own loopback server
                document: dict[str, Any] = json.load(response)
                return document
        except urllib.error.HTTPError as error:
            raise ApiError(json.load(error)["detail"]) from error


class LiveFeed:
    """Follows GET /v1/live in a thread: the latest windows, and every anomaly by its id."""

    def __init__(self, url: str) -> None:
        self.windows: deque[dict[str, Any]] = deque(maxlen=120)
        self.anomalies: dict[str, dict[str, Any]] = {}
        self._engine: dict[str, Any] = {"events_per_s": 0.0, "lag": 0}
        self._place = urlsplit(url)
        self._closing = False
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Stop at the next event."""
        self._closing = True

    def _follow(self) -> None:
        connection = http.client.HTTPConnection(self._place.hostname or "127.0.0.1", self._place.port, timeout=60)
        try:
            connection.request("GET", "/v1/live")
            response = connection.getresponse()
            name = ""
            for raw in response:
                line = raw.decode().rstrip("\n")
                if self._closing:
                    return
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    self._take(name, json.loads(line[6:]))
        except (OSError, http.client.HTTPException):
            return  # the server was stopped

    def _take(self, name: str, data: dict[str, Any]) -> None:
        if name == "status":
            self._engine = data
        elif name == "window":
            self.windows.append(data | {"engine": self._engine})
        elif name == "anomaly":
            self.anomalies[data["id"]] = data
