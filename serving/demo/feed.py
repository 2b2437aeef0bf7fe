"""What happens live, gathered in a thread for the demo's screen: the latest windows, and every anomaly by its id."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from metercast.client import Client, UnreachableError


class LiveFeed:
    """Follows GET /v1/live; windows carry the engine's status of that moment."""

    def __init__(self, client: Client) -> None:
        self.windows: deque[dict[str, Any]] = deque(maxlen=120)
        self.anomalies: dict[str, dict[str, Any]] = {}
        self._client = client
        self._engine: dict[str, Any] = {"events_per_s": 0.0, "lag": 0}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def close(self) -> None:
        """Stop at the next event."""
        self._closing.set()

    def _follow(self) -> None:
        try:
            for event in self._client.live():
                if self._closing.is_set():
                    return
                if event.kind == "status":
                    self._engine = event.data
                elif event.kind == "window":
                    self.windows.append(event.data | {"engine": self._engine})
                elif event.kind == "anomaly":
                    self.anomalies[event.data["id"]] = event.data
        except UnreachableError:
            return  # the server was stopped
