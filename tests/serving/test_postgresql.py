"""The platform on a PostgreSQL server: several API processes share one database, and one of them runs the engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient
from metercast.event import BATCH_MEDIA_TYPE

from features.database import connect
from features.log import open_log
from serving.api.app import create_app
from serving.commands.erase import main as erase_main
from serving.commands.log import main as log_main
from serving.engine.store import FencedError
from serving.engine.worker import EngineWorker
from serving.settings import Settings
from serving.storage.engine_store import DatabaseEngineStore
from serving.storage.history import History
from tests.features.events import batch, event
from tests.postgresql import Server
from tests.serving.conftest import PLANS, some_usage

PERSON = "person-4711@example.org"


@pytest.fixture
def url(postgresql_server: Server) -> str:
    """An empty database."""
    return postgresql_server.database()


def _settings(url: str, data: Path) -> Settings:
    return Settings(data=data, database_url=url, plans=PLANS, windows_s=(1, 10, 3600), lateness_s=0.0)


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


EVENTS = some_usage(seconds=3)


def _send(client: TestClient, producer: str, sequence: int) -> dict[str, Any]:
    body = {"producer": producer, "epoch": 1, "sequence": sequence, "events": EVENTS}
    answer = client.post("/v1/events", json=body, headers={"Content-Type": BATCH_MEDIA_TYPE})
    return dict(answer.json()) | {"status": answer.status_code}


def _events(url: str) -> int:
    return int(History(url).windows(3600, 0, 2**62)["events"].sum())


def test_two_servers_share_one_database(url: str, tmp_path: Path) -> None:
    """Both take events in, each batch counts once whoever gets it, and the second takes over where the first ends."""
    first, second = (TestClient(create_app(_settings(url, tmp_path))) for _ in range(2))
    with second:
        with first:
            assert _send(first, "a", 1)["accepted"] == _send(second, "b", 1)["accepted"] == len(EVENTS)
            assert _send(second, "a", 1)["duplicate"] == _send(first, "b", 1)["duplicate"] == len(EVENTS)
            _wait(lambda: _events(url) == 2 * len(EVENTS))
            assert [client.get("/readyz").status_code for client in (first, second)] == [200, 200]
            assert second.get("/v1/users").json()["users"] == ["acme", "globex"]
        _send(second, "b", 2)
        _wait(lambda: _events(url) == 3 * len(EVENTS))
    words = ["--data", str(tmp_path), "--database-url", url]
    assert log_main(["verify", *words]) == log_main(["replay", *words]) == 0


def test_a_database_server_that_restarts_loses_nothing(url: str, tmp_path: Path, postgresql_server: Server) -> None:
    """While it is away events are refused with 503 and Retry-After; afterwards both sides go on, and sums are right."""
    with TestClient(create_app(_settings(url, tmp_path))) as client:
        assert _send(client, "a", 1)["status"] == 202
        postgresql_server.restart()
        answers = [_send(client, "a", 2)]
        while answers[-1]["status"] != 202:
            assert answers[-1]["status"] == 503, answers
            assert len(answers) < 100
            time.sleep(0.2)
            answers.append(_send(client, "a", 2))
        _wait(lambda: _events(url) == 2 * len(EVENTS))
        _wait(lambda: client.get("/readyz").status_code == 200)
    words = ["--data", str(tmp_path), "--database-url", url]
    assert log_main(["verify", *words]) == log_main(["replay", *words]) == 0


def test_erasure_and_archive(url: str, tmp_path: Path, postgresql_server: Server) -> None:
    """Old batches move to Parquet; a person's events go from there, from log, windows and the server's files."""
    log = open_log(url)
    theirs = [event(-30.0, user=PERSON, cpuCycles=1), event(-30.0, user="globex", cpuCycles=2)]
    log.append([batch(theirs, 1)])
    worker = EngineWorker(log, DatabaseEngineStore(url), (1, 3600))
    worker.take_over()
    worker.advance()
    words = ["--data", str(tmp_path), "--database-url", url]
    assert log_main(["compact", "--older-than-days", "0", *words]) == 0
    log.append([batch(theirs, 2)])
    worker.advance()
    worker.stop()
    assert erase_main(["--user", PERSON, "--json", *words]) == 0
    assert History(url).users() == ["globex"]
    assert History(url).windows(3600, 0, 2**62)["cpu_cycles"].sum() == 4
    assert log_main(["verify", *words]) == log_main(["replay", *words]) == 0
    assert not _found_in(postgresql_server.directory / "base", PERSON)
    parts = [pl.read_parquet(file) for file in (tmp_path / "history").glob("*.parquet")]
    assert pl.concat(parts)["user_id"].to_list() == ["globex"]


def _found_in(directory: Path, text: str) -> list[Path]:
    return [file for file in directory.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]


def test_a_stale_engine_cannot_write(url: str) -> None:
    """On a server too, whoever took over later shuts the earlier one out."""
    log = open_log(url)
    stale = EngineWorker(log, DatabaseEngineStore(url), (1, 3600))
    stale.take_over()
    EngineWorker(log, DatabaseEngineStore(url), (1, 3600)).take_over()
    log.append([batch([event(-30.0)], 1)])
    with pytest.raises(FencedError):
        stale.advance()
    assert History(url).windows(1, 0, 2**62).is_empty()
    assert connect(url).execute("SELECT count(*) FROM series").fetchone()[0] == 0


def test_a_database_that_goes_away_while_a_server_starts(url: str, postgresql_server: Server) -> None:
    """The server says so, goes on starting, and runs the engine once the database is back."""
    log = open_log(url)
    log.append([batch([event(-1.0, cpuCycles=7)])])
    worker = EngineWorker(log, DatabaseEngineStore(url), (1, 3600))
    postgresql_server.halt()
    try:
        worker.start()
        assert worker.problem
    finally:
        postgresql_server.resume()
    end = time.monotonic() + 60
    while not worker.leads or worker.status()["lag"]:
        assert time.monotonic() < end, worker.problem
        time.sleep(0.05)
    worker.stop()
    log.close()
