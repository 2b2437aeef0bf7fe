"""Windows as they close, told to every listener alike: each is read and written out once, however many listen."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import polars as pl

from serving.storage.history import History

NANOSECONDS = 1_000_000_000
_KEPT = 256


class ClosedWindows:
    """Messages of closed windows by (user, span)."""

    def __init__(self, history: History, window_s: int) -> None:
        """Windows of one length in seconds."""
        self._history, self._window_s = history, window_s
        self._lock = threading.Lock()
        self._spans: OrderedDict[tuple[str | None, int, int], tuple[str, ...]] = OrderedDict()

    def get(self, user: str | None, start_ns: int, end_ns: int) -> tuple[str, ...]:
        """One message for every window that starts in [start_ns, end_ns), oldest first."""
        key = (user, start_ns, end_ns)
        with self._lock:  # held while reading, so that listeners who ask together wait for one answer
            if key not in self._spans:
                self._keep(key, self._read(*key))
            return self._spans[key]

    def revised(self, user: str | None, number: int, start_ns: int) -> tuple[str, ...]:
        """The message of a window that was told before and has changed since; ``number`` is that of its revision."""
        key = (user, -number, start_ns)
        with self._lock:
            if key not in self._spans:
                self._keep(key, self._read(user, start_ns, start_ns + 1, "revision"))
            return self._spans[key]

    def _keep(self, key: tuple[str | None, int, int], messages: tuple[str, ...]) -> None:
        self._spans[key] = messages
        if len(self._spans) > _KEPT:
            self._spans.popitem(last=False)

    def _read(self, user: str | None, start_ns: int, end_ns: int, name: str = "window") -> tuple[str, ...]:
        frame = self._history.windows(self._window_s, start_ns, end_ns, user)
        sums = frame.group_by("window_start", "operation_id").agg(
            pl.col("events", "cpu_cycles", "network_bytes", "disk_bytes").sum(),
            pl.col("units").filter(pl.col("meter") == "executions").sum().alias("executions"),
        )
        messages = []
        by_start = sums.sort("window_start", "operation_id").partition_by("window_start", maintain_order=True)
        for rows in by_start:
            begun_ns = int(rows["window_start"].cast(pl.Int64)[0])
            start = datetime.fromtimestamp(begun_ns / NANOSECONDS, UTC).isoformat().replace("+00:00", "Z")
            data = {"start": start, "window_s": self._window_s, "operations": rows.drop("window_start").to_dicts()}
            place = begun_ns + self._window_s * NANOSECONDS if name == "window" else None
            messages.append(message(name, place, data))
        return tuple(messages)


def message(name: str, number: int | None, data: dict[str, Any]) -> str:
    """One server-sent event (HTML standard, section 9.2)."""
    place = f"id: {number}\n" if number is not None else ""
    return f"event: {name}\n{place}data: {json.dumps(data)}\n\n"
