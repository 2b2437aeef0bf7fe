"""Hours are rolled up by series, and what comes weeks late still finds its hour."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from features.database import Connection, connect
from features.sqlite_log import SqliteEventLog
from features.windows import SCHEMA, aggregate
from serving.storage.erasure import note_erasure
from serving.storage.gathered import merge
from serving.storage.history import History
from tests.features.events import NOW_S, batch, event
from tests.serving.engines import caught_up

HOUR_NS = 3_600_000_000_000
DAY_S = 86_400.0


def _sorted(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort(list(SCHEMA)[:5])


@pytest.mark.parametrize(("gathered", "hours"), [(1, 4_000), (1, 2), (3, 1), (1_000, 4_000)])
def test_windows_are_the_same_wherever_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gathered: int, hours: int
) -> None:
    """Rolled up at once, in parts, later or not yet: hours, minutes and totals are the sums of all events."""
    monkeypatch.setattr("serving.storage.gathered.CHUNKS", gathered)
    monkeypatch.setattr("serving.storage.gathered.HOURS", hours)
    path = tmp_path / "m.db"
    log = SqliteEventLog(path)
    events = []
    for sequence, days in enumerate((30.0, 29.9, 3.0, 30.0, 0.5, 29.9)):  # the fourth and the sixth are weeks late
        more = [
            event(-days * DAY_S + 7 * minute, user, cpuCycles=2**40 + minute, executionTimeMs=0.1 * minute)
            for minute in range(9)
            for user in ("ada", "bo")
        ]
        events += more
        log.append([batch(more, sequence)])
        caught_up(log, path, (60, 3600))
    whole = pl.DataFrame(pl.from_arrow(batch(events).rows))
    history = History(path)
    for window_s in (60, 3600):
        expected = aggregate(whole, window_s * 1_000_000_000)
        assert_frame_equal(_sorted(history.windows(window_s, 0, 2**62)), _sorted(expected))
        mine = history.windows(window_s, 0, 2**62, user="bo")
        assert_frame_equal(_sorted(mine), _sorted(expected.filter(pl.col("user_id") == "bo")))
        assert history.totals(window_s, 0, 2**62, "bo")["cpu_cycles"].to_list() == [mine["cpu_cycles"].sum()]
    start_ns = int((NOW_S - 10 * DAY_S) * 1e9) // HOUR_NS * HOUR_NS
    recent = history.windows(3600, start_ns, 2**62, operation="checkout")
    assert recent["window_start"].cast(pl.Int64).min() >= start_ns
    rows = connect(path).execute("SELECT count(*) FROM rollups").fetchone()[0]
    assert (rows > 0) == (gathered < 1_000)


def test_an_erasure_between_reading_and_merging_wins(tmp_path: Path) -> None:
    """What was read before an erasure is not written back after it."""
    path = tmp_path / "m.db"
    log = SqliteEventLog(path)
    for sequence in range(3):
        log.append([batch([event(-DAY_S + sequence)], sequence)])
        caught_up(log, path, (60, 3600))
    engine, other = connect(path), connect(path)
    shard = engine.execute("SELECT shard FROM window_chunks WHERE window_s = 60").fetchone()[0]

    @contextmanager
    def after_an_erasure() -> Iterator[Connection]:
        note_erasure(other, {})
        engine.execute("BEGIN IMMEDIATE")
        yield engine
        engine.execute("COMMIT")

    def chunks() -> int:
        return int(engine.execute("SELECT count(*) FROM window_chunks WHERE window_s = 60").fetchone()[0])

    before = chunks()
    assert not merge(engine, after_an_erasure, 60, shard)
    assert chunks() == before > 1
    assert merge(engine, lambda: nullcontext(engine), 60, shard)
    assert chunks() == 1
