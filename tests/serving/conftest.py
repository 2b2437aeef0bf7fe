"""A real platform behind the application: SQLite in a new directory, the engine running, events through the API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from metercast.event import BATCH_MEDIA_TYPE

from serving.api.app import create_app
from serving.settings import Settings
from tests.serving.receiver import Receiver

PLANS = Path(__file__).parents[2] / "configs" / "plans"


def event(user: str, operation: str, kind: str, at_s: float, **usage: float) -> dict[str, Any]:
    """An event in the wire form; a CPU event also counts one execution."""
    counted = kind == "CPU_INSTRUCTION"
    return {
        "timestamp": at_s,
        "operationID": operation,
        "microOperationType": kind,
        "resourceUsage": usage,
        "userID": user,
        "executionID": 1,
        "parentExecutionID": 0,
        "units": 1.0 if counted else 0.0,
        "meter": "executions" if counted else "",
        "source": "thread-clock",
    }


def some_usage(users: tuple[str, ...] = ("acme", "globex"), seconds: int = 30) -> list[dict[str, Any]]:
    """A checkout and a search of every user in each of the last seconds, up to a moment that is closed by now."""
    now_s = int(time.time()) - 5
    events = []
    for at in range(now_s - seconds, now_s):
        for number, user in enumerate(users):
            events.append(event(user, "checkout", "CPU_INSTRUCTION", at + 0.1, cpuCycles=50_000_000 * (number + 1)))
            events.append(event(user, "checkout", "DISK_WRITE", at + 0.2, diskBytes=200_000))
            events.append(event(user, "search", "CPU_INSTRUCTION", at + 0.3, cpuCycles=20_000_000))
            events.append(event(user, "search", "NETWORK_SEND", at + 0.4, networkBytes=40_000))
    return events


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Windows of a second and more, closed soon."""
    return Settings(data=tmp_path / "data", plans=PLANS, windows_s=(1, 10, 60), lateness_s=0.0)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """The application, started."""
    with TestClient(create_app(settings), raise_server_exceptions=False) as started:
        yield started


class Sender:
    """Sends events and waits until the engine has taken them in."""

    def __init__(self) -> None:
        self.sequence = 0

    def __call__(
        self,
        client: TestClient,
        events: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.sequence += 1
        body = {"producer": "test", "epoch": 1, "sequence": self.sequence, "events": events or some_usage()}
        answer = client.post("/v1/events", json=body, headers={"Content-Type": BATCH_MEDIA_TYPE} | (headers or {}))
        assert answer.status_code == 202, answer.text
        worker = client.app.state.platform.worker  # type: ignore[attr-defined]
        end = time.monotonic() + 10
        while worker.status()["lag"] or not worker.closed_until_ns(1):
            assert time.monotonic() < end, worker.status()
            time.sleep(0.02)


@pytest.fixture
def feed() -> Sender:
    """A producer of its own for every test."""
    return Sender()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver on loopback."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()
