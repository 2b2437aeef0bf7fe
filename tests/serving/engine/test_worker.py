"""The engine gives the same windows whatever the batches were, and however often it was stopped."""

from __future__ import annotations

import itertools
import sqlite3
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from features.sqlite_log import SqliteEventLog
from features.window_rows import WindowRows
from features.windows import aggregate
from serving.engine.store import FencedError
from serving.engine.worker import EngineWorker
from serving.storage.history import History
from tests.features.events import batch, event
from tests.serving.engines import caught_up, engine

SECOND = 1_000_000_000


class Watcher:
    """A hook that remembers what it saw and can fail."""

    window_s = 1

    def __init__(self) -> None:
        self.rows: list[pl.DataFrame] = []
        self.fails = ""
        self.undone = 0

    def closed(self, window_s: int, rows: WindowRows, names: pl.DataFrame, connection: sqlite3.Connection) -> None:
        self._fail_in("closed")
        self.rows.append(rows.frame(names))

    def write(self, connection: sqlite3.Connection) -> None:
        self._fail_in("write")
        assert connection.in_transaction

    def _fail_in(self, place: str) -> None:
        if self.fails == place:
            self.fails = ""
            raise RuntimeError("hook failed")

    def rolled_back(self) -> None:
        self.undone += 1


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offsets=st.lists(st.floats(-300, -20), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    limit=st.integers(1, 3),
)
def test_batches_and_restarts_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, offsets: list[float], cuts: list[int], limit: int
) -> None:
    """Windows equal those of all events at once, also when the engine starts anew after every step."""
    path = tmp_path_factory.mktemp("engine") / "metercast.db"
    events = [event(at, cpuCycles=index, executionTimeMs=at * at) for index, at in enumerate(offsets)]
    log = SqliteEventLog(path)
    edges = sorted({0, len(events), *[cut for cut in cuts if cut < len(events)]})
    for sequence, (start, end) in enumerate(itertools.pairwise(edges)):
        log.append([batch(events[start:end], sequence)])
        engine(log, path, (1, 10), batch_limit=limit).advance()
    caught_up(log, path, (1, 10))
    whole = pl.DataFrame(pl.from_arrow(batch(events).rows))
    for window_s in (1, 10):
        found = History(path).windows(window_s, 0, 2**62)
        assert_frame_equal(found.sort(found.columns[:5]), aggregate(whole, window_s * SECOND))


def test_hooks_see_each_closed_window_once(tmp_path: Path) -> None:
    """Closed windows reach the hooks whole, in one go."""
    log, hook = SqliteEventLog(tmp_path / "m.db"), Watcher()
    log.append([batch([event(-30.0), event(-30.2), event(-25.0)], 1)])
    caught_up(log, tmp_path / "m.db", (1, 10), hooks=[hook])
    seen = pl.concat(hook.rows)
    assert seen["events"].sum() == 3
    assert seen["window_start"].is_unique().all()


@pytest.mark.parametrize("place", ["closed", "write"])
def test_a_failing_hook_undoes_the_step(tmp_path: Path, place: str) -> None:
    """State, sums and what hooks wrote commit together or not at all."""
    log, hook = SqliteEventLog(tmp_path / "m.db"), Watcher()
    log.append([batch([event(-30.0)], 1)])
    worker = engine(log, tmp_path / "m.db", (1, 10), hooks=[hook])
    hook.fails = place
    with pytest.raises(RuntimeError, match="hook failed"):
        worker.advance()
    assert hook.undone == 1
    assert History(tmp_path / "m.db").windows(1, 0, 2**62).is_empty()
    worker.advance()
    assert History(tmp_path / "m.db").windows(1, 0, 2**62)["events"].sum() == 1


def test_ingest_goes_on_while_hooks_compute(tmp_path: Path) -> None:
    """A batch is acknowledged, without waiting for the engine's step, while a hook looks at windows."""
    path = tmp_path / "m.db"
    log = SqliteEventLog(path)
    log.append([batch([event(-30.0)], 1)])

    class Slow(Watcher):
        def closed(self, window_s: int, rows: WindowRows, names: pl.DataFrame, connection: sqlite3.Connection) -> None:
            assert not connection.in_transaction
            log.append([batch([event(-29.0)], 2)])
            super().closed(window_s, rows, names, connection)

    engine(log, path, (1, 10), hooks=[Slow()]).advance()
    assert log.last_offset() == 2
    assert History(path).windows(1, 0, 2**62)["events"].sum() == 1


def test_late_events_revise_a_closed_window(tmp_path: Path) -> None:
    """Usage that comes after its window closed is added, and counted as late."""
    log = SqliteEventLog(tmp_path / "m.db")
    log.append([batch([event(-30.0, cpuCycles=1)], 1)])
    worker = caught_up(log, tmp_path / "m.db", (1, 10))
    log.append([batch([event(-30.0, cpuCycles=2)], 2)])
    worker.advance()
    assert History(tmp_path / "m.db").windows(1, 0, 2**62)["cpu_cycles"].to_list() == [3]
    assert worker.status()["late_events"] == 1


def test_a_worker_that_was_replaced_cannot_write(tmp_path: Path) -> None:
    """Two servers on one data directory do not both count."""
    log = SqliteEventLog(tmp_path / "m.db")
    stale = engine(log, tmp_path / "m.db")
    engine(log, tmp_path / "m.db")
    log.append([batch([event(-30.0)], 1)])
    with pytest.raises(FencedError, match="stop one"):
        stale.advance()
    assert History(tmp_path / "m.db").windows(1, 0, 2**62).is_empty()


def test_window_lengths_must_fit() -> None:
    """Lengths that do not nest are refused with the value."""
    with pytest.raises(ValueError, match="15 s"):
        EngineWorker(None, None, (10, 15))  # type: ignore[arg-type]
