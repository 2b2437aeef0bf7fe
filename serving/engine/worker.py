"""The engine's thread: reads the log, steps, and commits state, sums and what hooks found in one transaction."""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from features.contracts import EventLog, LoggedBatch
from features.sqlite_log import connect
from features.windows import empty
from serving.engine.hooks import WindowHook
from serving.engine.step import EngineState, Outputs, step
from serving.storage import window_table
from serving.storage.erasure import ERASURES, last_erasure

_TABLE = "CREATE TABLE IF NOT EXISTS engine (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER, state TEXT)"
_logger = logging.getLogger(__name__)


class FencedError(RuntimeError):
    """Another worker has taken over this database; this one must stop writing."""


class ErasedError(RuntimeError):
    """What this step read may hold erased data; nothing of it was written."""


class EngineWorker:
    """Turns the log into windows in the background.

    Each start takes a new fencing epoch, so that a worker thought dead cannot write after its successor began.
    """

    def __init__(
        self,
        log: EventLog,
        database_path: Path,
        windows_s: Sequence[int] = (1, 10, 60, 3600),
        lateness_s: float = 2.0,
        hooks: Sequence[WindowHook] = (),
        idle_s: float = 0.1,
        batch_limit: int = 512,
    ) -> None:
        """``windows_s`` are lengths in seconds, each a multiple of the shortest; raises ValueError otherwise."""
        self.windows_s = tuple(sorted(windows_s))
        odd = [length for length in self.windows_s if length % self.windows_s[0]]
        if odd:
            raise ValueError(f"a window of {odd[0]} s is no multiple of the shortest, {self.windows_s[0]} s")
        self._log, self._path, self._hooks = log, database_path, tuple(hooks)
        self._lateness_ns = round(lateness_s * 1e9)
        self._idle_s, self._batch_limit = idle_s, batch_limit
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._epoch = 0
        self._erasure = 0
        self._state = EngineState()
        self._rate_per_s = 0.0
        self.problem: str | None = None

    def start(self) -> None:
        """Take over the database and begin."""
        connection = self._open()
        self._thread = threading.Thread(target=self._run, args=(connection,), name="metercast-engine", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the step at hand and stop."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def status(self) -> dict[str, Any]:
        """Where the engine stands: offset, lag in batches, events a second, watermark, late events, trouble."""
        return {
            "offset": self._state.offset,
            "lag": max(0, self._log.last_offset() - self._state.offset),
            "events_per_s": round(self._rate_per_s, 1),
            "watermark_ns": self._state.watermark_ns,
            "late_events": self._state.late_events,
            "problem": self.problem,
        }

    def closed_until_ns(self, window_s: int) -> int:
        """End of the last closed window of a length, in Unix nanoseconds; 0 before the first."""
        return self._state.closed_until_ns.get(window_s, 0)

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path)
        window_table.create(connection)
        connection.execute(_TABLE)
        connection.execute(ERASURES)
        connection.execute("BEGIN IMMEDIATE")
        row = connection.execute("SELECT epoch, state FROM engine").fetchone()
        self._epoch = (row[0] if row else 0) + 1
        self._state = _parse(row[1]) if row else EngineState()
        connection.execute("REPLACE INTO engine VALUES (1, ?, ?)", (self._epoch, _dump(self._state)))
        connection.execute("COMMIT")
        return connection

    def _run(self, connection: sqlite3.Connection) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                events = self.advance(connection)
            except FencedError as error:
                self.problem = str(error)
                break
            except ErasedError:
                continue
            except Exception as error:  # a step that failed was rolled back and is tried again
                self.problem = f"{type(error).__name__}: {error}"
                _logger.exception("the engine's step failed and will be tried again")
                self._stopping.wait(1.0)
                continue
            self.problem = None
            if not events:
                self._stopping.wait(self._idle_s)
            spent_s = max(time.monotonic() - started, 1e-6)
            weight = min(1.0, spent_s / 5.0)
            self._rate_per_s += weight * (events / spent_s - self._rate_per_s)
        connection.close()

    def advance(self, connection: sqlite3.Connection) -> int:
        """One step: read, compute, commit. Returns how many events it took in."""
        erased = last_erasure(connection)  # before reading: a batch read before an erasure must not be counted after it
        batches: list[LoggedBatch] = self._log.read(self._state.offset, self._batch_limit)
        following, outputs = step(self._state, batches, self.windows_s, self._lateness_ns, time.time_ns())
        if not batches and not outputs.closed:
            return 0
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._forget_erased(connection, erased)
            self._write(connection, following, outputs)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            for hook in self._hooks:
                hook.rolled_back()
            raise
        self._state = following
        return outputs.events

    def _forget_erased(self, connection: sqlite3.Connection, before_reading: int) -> None:
        """Make hooks read their state again after an erasure; raises ErasedError when one came during this step."""
        latest = last_erasure(connection)
        if latest != before_reading:
            raise ErasedError("data were erased during this step; it is done again")
        if latest != self._erasure:
            for hook in self._hooks:
                hook.rolled_back()
            self._erasure = latest

    def _write(self, connection: sqlite3.Connection, following: EngineState, outputs: Outputs) -> None:
        update = "UPDATE engine SET state = ? WHERE id = 1 AND epoch = ?"
        if connection.execute(update, (_dump(following), self._epoch)).rowcount != 1:
            raise FencedError("another engine has taken over this data directory; stop one of the two servers")
        for window_s, sums in outputs.additions.items():
            window_table.add(connection, window_s, sums)
        for window_s, (start_ns, end_ns) in outputs.closed.items():
            hooks = [hook for hook in self._hooks if hook.window_s == window_s]
            rows = window_table.read(connection, window_s, start_ns, end_ns) if hooks else empty()
            if not rows.is_empty():
                for hook in hooks:
                    hook.closed(window_s, rows, connection)


def _dump(state: EngineState) -> str:
    return json.dumps(
        {
            "offset": state.offset,
            "watermark_ns": state.watermark_ns,
            "closed_until_ns": {str(key): value for key, value in state.closed_until_ns.items()},
            "late_events": state.late_events,
        }
    )


def _parse(text: str) -> EngineState:
    document = json.loads(text)
    closed = {int(key): value for key, value in document["closed_until_ns"].items()}
    return replace(EngineState(), **(document | {"closed_until_ns": closed}))
