"""An engine that has read the whole log, for tests of what stands on its windows."""

from __future__ import annotations

from typing import Any

from features.contracts import EventLog
from features.database import Location
from serving.engine.worker import EngineWorker
from serving.storage.engine_store import DatabaseEngineStore


def engine(log: EventLog, path: Location, windows_s: tuple[int, ...] = (1, 10, 60, 3600), **more: Any) -> EngineWorker:
    """A worker that has taken over the database and not read yet."""
    worker = EngineWorker(log, DatabaseEngineStore(path), windows_s, **more)
    worker.take_over()
    return worker


def caught_up(
    log: EventLog, path: Location, windows_s: tuple[int, ...] = (1, 10, 60, 3600), **more: Any
) -> EngineWorker:
    """A worker that has read all of the log."""
    worker = engine(log, path, windows_s, **more)
    while worker.advance():
        pass
    return worker
