"""The server watches the champion's accuracy on what comes in, and says when to train again."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from features.sqlite_log import SqliteEventLog
from models.bundle import save
from models.forecasters.seasonal_naive import SeasonalNaive
from serving.accuracy_store import AccuracyStore
from serving.api.app import create_app
from serving.champion import ChampionWatch
from serving.drift_watch import DriftWatch
from serving.estimating.forecasting import usage_panel
from serving.settings import Settings
from serving.storage.history import History
from tests.features.events import batch, event
from tests.serving.conftest import PLANS
from tests.serving.engines import caught_up

SEASON, TRAINED = 6, 60
USERS = tuple(f"user{number}" for number in range(6))
ENOUGH = 24


def _platform(data: Path, drifts: bool) -> int:
    """A data directory up to now whose season went on after training, or moved; returns the end of training in ns."""
    data.mkdir()
    random = np.random.default_rng(1)
    began_s = int(time.time()) - TRAINED - ENOUGH - 2
    log = SqliteEventLog(data / "metercast.db")
    events = []
    for second in range(TRAINED + ENOUGH + 2):
        phase = 3 * max(0, (second - TRAINED) // SEASON + 1) if drifts else 0
        for user in USERS:
            cycles = 1e6 * (1.5 + math.sin(math.pi * (second + phase) / 3)) + 1e5 * random.random()
            events.append(event(0.0, user, cpuCycles=round(cycles)) | {"timestamp": began_s + second + 0.5})
    log.append([batch(events)])
    caught_up(log, data / "metercast.db")
    log.close()
    trained_ns = (began_s + TRAINED) * 1_000_000_000
    panel = usage_panel(History(data / "metercast.db"), 1, trained_ns, season=SEASON)
    metadata = {
        "name": "seasonal-naive",
        "version": "3",
        "window_s": 1,
        "season": SEASON,
        "horizon": 12,
        "resources": ["cpu_cycles", "events"],
        "trained_until": panel.time_of(panel.windows).isoformat(),
        "watched": {"windows": SEASON, "scaled_pinball": 0.75},
        "backtest": {"coverage": 0.8},
    }
    save(SeasonalNaive().fit(panel, 12), data / "models" / "champion", metadata)
    return trained_ns


def _watch(data: Path, until_ns: int) -> DriftWatch:
    """A watch of a data directory, as if windows had closed until a moment."""
    history, store = History(data / "metercast.db"), AccuracyStore(data / "metercast.db")
    return DriftWatch(ChampionWatch(data / "models" / "champion"), history, lambda _window_s: until_ns, store)


@pytest.mark.parametrize("drifts", [False, True])
def test_accuracy_is_measured_as_windows_close(tmp_path: Path, drifts: bool) -> None:
    """Each season once, from its own past alone; drift is told after a few, with what to do."""
    trained_ns = _platform(tmp_path / "data", drifts)
    second_ns = 1_000_000_000
    early = _watch(tmp_path / "data", trained_ns + (SEASON - 1) * second_ns)
    assert early.check() == 0
    assert (early.report() or {})["status"] == "waiting"
    one = _watch(tmp_path / "data", trained_ns + SEASON * second_ns)
    assert [one.check(), one.check()] == [1, 0]
    later = _watch(tmp_path / "data", trained_ns + ENOUGH * second_ns)
    assert [later.check(), later.check()] == [ENOUGH // SEASON - 1, 0]
    report = later.report()
    assert report is not None
    assert report["status"] == ("drifted" if drifts else "steady"), report["told"]
    assert (report["suggestion"] is not None) is drifts
    assert len(report["origins"]) == ENOUGH // SEASON
    losses = [one["loss"] for one in report["series"]]
    assert losses == sorted(losses, reverse=True)
    mine = later.report("user3")
    assert mine is not None
    assert {row["user"] for row in mine["series"]} == {"user3"}


def test_the_api_and_the_page_tell_it(tmp_path: Path) -> None:
    """A tenant sees its own series; the vendor all of them, and the page says what to run."""
    _platform(tmp_path / "data", drifts=True)
    # So late that nothing more closes: the seconds in which this test idles are not measured.
    settings = Settings(data=tmp_path / "data", plans=PLANS, lateness_s=100_000.0)
    with TestClient(create_app(settings)) as client:
        until = time.monotonic() + 60
        while (found := client.get("/v1/models/drift").json()).get("status") != "drifted":
            assert time.monotonic() < until, found
            time.sleep(0.2)
        assert {row["user"] for row in found["series"]} == set(USERS)
        assert "configs/train/demo.yaml" in found["suggestion"], "that which trains on windows of 1 s"
        figures = dict(
            line.split() for line in client.get("/metrics").text.splitlines() if "metercast_model" in line[:15]
        )
        assert figures["metercast_model_drifted"] == "1"
        assert float(figures["metercast_model_loss"]) == pytest.approx(found["loss"], rel=1e-4)
        assert float(figures["metercast_model_loss_reference"]) == 0.75
        admin = client.post("/v1/keys", json={"name": "root", "scopes": ["admin"]}).json()["key"]
        client.headers["Authorization"] = f"Bearer {admin}"
        scopes = ["usage:read", "estimates:read"]
        mine = client.post("/v1/keys", json={"name": "u", "scopes": scopes, "tenant": "user1"}).json()["key"]
        page = client.get("/models").text
        assert "metercast train" in page
        assert "--if-drifted" in page
        assert 'role="img"' in page
        client.headers["Authorization"] = f"Bearer {mine}"
        assert {row["user"] for row in client.get("/v1/models/drift").json()["series"]} == {"user1"}
        assert "user2" not in client.get("/models").text
        assert client.get("/v1/models/drift", params={"user": "user2"}).status_code == 404


def test_without_a_champion_there_is_nothing_to_watch(tmp_path: Path) -> None:
    """404 says what to do first."""
    with TestClient(create_app(Settings(data=tmp_path / "data", plans=PLANS))) as client:
        answer = client.get("/v1/models/drift")
        assert answer.status_code == 404
        assert "metercast train" in answer.json()["detail"]
