"""Data directories to train on, as a platform leaves them."""

from __future__ import annotations

import functools
import math
import tempfile
import time
from pathlib import Path

from features.database import Location
from features.log import open_log
from tests.features.events import batch, event
from tests.serving.engines import caught_up
from training.tracking import Tracking


@functools.cache
def _new_store() -> bytes:
    """A new MLflow store: making its tables takes seconds, so it is made once."""
    with tempfile.TemporaryDirectory() as scratch:
        Tracking(Path(scratch), "Default")
        return (Path(scratch) / "mlflow.db").read_bytes()


def with_store(path: Path) -> Path:
    """A directory with a new MLflow store, made where it is missing."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "mlflow.db").write_bytes(_new_store())
    return path


def platform_directory(path: Path, seconds: int = 60) -> Path:
    """A data directory with windows of two users, one a second, all of them closed."""
    path.mkdir(parents=True, exist_ok=True)
    fill(path / "metercast.db", seconds)
    return path


def fill(database: Location, seconds: int = 60) -> None:
    """Windows of two users, one a second, all of them closed."""
    log = open_log(database)
    began = time.time() - seconds - 30
    events = [
        event(0.0, user, cpuCycles=1000 + int(100 * math.sin(second)) + second, units=1.0, meter="executions")
        | {"timestamp": began + second}
        for second in range(seconds)
        for user in ("ada", "bo")
    ]
    log.append([batch(events)])
    caught_up(log, database)
    log.close()
