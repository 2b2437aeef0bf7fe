"""The live stream with keys: a tenant hears itself only, and a revoked key falls silent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from metercast.client import Client, ProblemError

from serving.api import live
from serving.api.app import create_app
from serving.settings import Settings
from tests.serving.conftest import PLANS, some_usage


class Producer:
    """Sends usage of two tenants all the time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            self._client.post("/v1/events", [one | {"timestamp": time.time()} for one in some_usage(seconds=1)])

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Client]]:
    """A server that looks after its streams often, its address, and an administrator's client."""
    monkeypatch.setattr(live, "PULSE_S", 0.3)
    settings = Settings(data=tmp_path, plans=PLANS, windows_s=(1, 10, 60), lateness_s=0.0, streams=3)
    config = uvicorn.Config(create_app(settings), port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    admin = Client(url, Client(url).post("/v1/keys", {"name": "root", "scopes": ["admin"]})["key"])
    producer = Producer(admin)
    yield url, admin
    producer.close()
    server.should_exit = True
    thread.join(10)


def tenant_key(admin: Client, tenant: str) -> tuple[str, str]:
    """Id and text of a new reading key."""
    made = admin.post("/v1/keys", {"name": tenant, "scopes": ["usage:read"], "tenant": tenant})
    return made["id"], made["key"]


def test_tenant_hears_itself_only(served: tuple[str, Client]) -> None:
    """Windows have the tenant's own sums, the engine's status is the vendor's, another's stream does not exist."""
    url, admin = served
    while len(admin.users()) < 2:
        time.sleep(0.1)
    acme = Client(url, tenant_key(admin, "acme")[1])
    with pytest.raises(ProblemError) as refused:
        next(acme.live("globex"))
    assert refused.value.status == 404
    events = []
    for event in acme.live():
        events.append(event)
        if len(events) == 3:
            break
    assert {event.kind for event in events} <= {"window", "anomaly"}
    assert "globex" not in json.dumps([event.data for event in events])
    whole = next(event for event in admin.live() if event.kind == "window")
    cycles = {row["operation_id"]: row["cpu_cycles"] for row in whole.data["operations"]}
    mine = {row["operation_id"]: row["cpu_cycles"] for row in events[-1].data["operations"]}
    per_run = 50_000_000  # what one checkout of acme uses; globex's use twice that
    assert mine["checkout"] % per_run == 0
    assert cycles["checkout"] % (3 * per_run) == 0


def test_revoked_key_falls_silent(served: tuple[str, Client]) -> None:
    """The stream of a revoked key ends, and cannot be taken up again."""
    url, admin = served
    while not admin.users():
        time.sleep(0.1)
    key_id, text = tenant_key(admin, "nobody-yet")
    stream = Client(url, text).live()
    threading.Timer(0.5, admin._transport.json, ("DELETE", f"/v1/keys/{key_id}")).start()
    with pytest.raises(ProblemError) as refused:
        next(stream)
    assert refused.value.status == 401


def test_streams_are_bounded(served: tuple[str, Client]) -> None:
    """Beyond the limit a listener is told so instead of slowing the others."""
    _, admin = served
    streams = [admin._transport.open("GET", "/v1/live") for _ in range(3)]
    time.sleep(1)  # a stream counts once its first message is under way
    with pytest.raises(ProblemError, match="as many as are allowed") as refused:
        admin._transport.open("GET", "/v1/live")
    assert refused.value.status == 503
    for stream in streams:
        stream.close()
