"""Baselines over HTTP tell what is usual for each series, and the live stream corrects what it told too early."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from features.sqlite_log import SqliteEventLog
from serving.live_windows import ClosedWindows
from serving.storage.history import History
from tests.features.events import batch, event
from tests.serving.engines import caught_up, engine


def test_baselines_are_of_the_windows_told(client: TestClient, feed: Any) -> None:
    """Mean and median of equal windows are their value; a user or operation can be asked for."""
    feed(client)
    rows = client.get("/v1/baselines", params={"user": "globex", "operation": "checkout"}).json()["baselines"]
    cpu = next(row for row in rows if row["micro_operation_type"] == "CPU_INSTRUCTION")
    assert (cpu["resource"], cpu["windows"]) == ("cpu_cycles", 30)
    assert (cpu["mean"], cpu["p50"], cpu["standard_deviation"]) == (100_000_000, 100_000_000, 0)
    assert 0 < cpu["rate_per_s"] <= 1
    assert {row["user_id"] for row in rows} == {"globex"}
    everyone = client.get("/v1/baselines").json()
    assert {row["user_id"] for row in everyone["baselines"]} == {"acme", "globex"}
    assert everyone["window_s"] == 1


def test_a_window_told_too_early_is_told_again(tmp_path: Any) -> None:
    """Usage that comes after its window closed gives a revision with the whole window; others are not told again."""
    path = tmp_path / "m.db"
    log = SqliteEventLog(path)
    log.append([batch([event(-30.0, cpuCycles=1), event(-20.0, cpuCycles=5)], 1)])
    worker = caught_up(log, path, (1, 10))
    told = ClosedWindows(History(path), 1)
    start_ns = int(time.time() - 3_600) * 10**9
    assert len(told.get(None, start_ns, 2**62)) == 2
    assert worker.revisions() == []
    log.append([batch([event(-30.0, cpuCycles=2)], 2)])
    worker.advance()
    ((number, revised_ns),) = worker.revisions()
    (message,) = told.revised(None, number, revised_ns)
    assert message.startswith("event: revision\ndata: ")
    data = json.loads(message.split("data: ")[1])
    assert [(row["operation_id"], row["events"], row["cpu_cycles"]) for row in data["operations"]] == [
        ("checkout", 2, 3)
    ]


def test_what_an_engine_learnt_survives_its_restart(tmp_path: Any) -> None:
    """A successor has the baselines and the open windows of the engine before it."""
    path = tmp_path / "m.db"
    log = SqliteEventLog(path)
    log.append([batch([event(-30.0 + second, cpuCycles=second) for second in range(20)], 1)])
    before = caught_up(log, path, (1, 10, 3600)).state
    after = engine(log, path, (1, 10, 3600)).state
    assert after.document() == before.document()
    assert after.baselines.mean.tolist() == before.baselines.mean.tolist() == [pytest.approx(9.5)]
    assert [len(parts) for parts in after.open_windows.values()] == [
        len(one) for one in before.open_windows.values() if one
    ]
