"""Whatever is killed, cut off or full: nothing acknowledged is lost, nothing counts twice, state equals a clean replay.

A short form; `make chaos` kills a thousand times. SIGKILL proves nothing about a loss of power: there the databases'
settings promise that a commit was synced, and a disk that lies about it can lose what it had not written.
"""

from __future__ import annotations

import http.client
import os
import random
import time
from pathlib import Path

import pytest

from features.database import Location
from serving.commands.log import main as log_main
from serving.storage.history import History
from tests.postgresql import Server as DatabaseServer
from tests.serving.chaos import MEDIA_TYPE, ROWS, Client, Server, body, cycles

KILLS = int(os.environ.get("METERCAST_KILLS", "4"))
SEED = int(os.environ.get("METERCAST_SEED", "7"))


def _check(location: Location, data: Path, acknowledged: dict[str, int], in_flight: int = 1) -> None:
    """The windows hold each acknowledged batch once, and at most one more a client, whose answer was lost."""
    history, end = History(location), time.monotonic() + 60
    least = sum(acknowledged.values())
    while history.windows(3600, 0, 2**62)["events"].sum() < least * ROWS:
        assert time.monotonic() < end, "the engine does not catch up"
        time.sleep(0.05)
    words = ["--data", str(data), *(["--database-url", location] if isinstance(location, str) else [])]
    assert log_main(["verify", *words]) == 0
    assert log_main(["replay", *words]) == 0
    windows = history.windows(3600, 0, 2**62)
    assert least * ROWS <= windows["events"].sum() <= (least + in_flight * len(acknowledged)) * ROWS
    if windows["events"].sum() == least * ROWS:
        assert windows["cpu_cycles"].sum() == sum(map(cycles, acknowledged.values()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_kills_lose_and_double_nothing(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """Server with its engine, client and database server are killed amid requests and steps; clocks jump meanwhile."""
    database: DatabaseServer | None = request.getfixturevalue("postgresql_server") if kind == "postgresql" else None
    url = database.database() if database else None
    location: Location = url or tmp_path / "data" / "metercast.db"
    chance, begun_s = random.Random(SEED), float(int(time.time()))
    server = Server(tmp_path, url=url)
    clients = [Client(tmp_path, name, begun_s) for name in ("a", "b")]
    victims = ["server", "server", "client", *(["database"] if database else ["torn"])]
    for number in range(KILLS):
        clients[number % 2].wait_for(chance.randint(1, 20))
        victim = victims[number % len(victims)] if KILLS < 10 else chance.choice(victims)
        if victim == "client":
            chance.choice(clients).kill_and_start()
        elif victim == "database" and database is not None:
            database.restart(is_kill=KILLS >= 10)
        else:
            server.kill()
            if victim == "torn":  # a frame that was being written when it stopped
                with (tmp_path / "data" / "metercast.db-wal").open("ab") as journal:
                    journal.write(chance.randbytes(chance.randint(1, 5_000)))
            server = Server(tmp_path, clock_off_s=chance.choice((0.0, -200.0, 86_400.0)), url=url)
    for client in clients:
        client.wait_for(1)
        client.kill()
    _check(
        location, tmp_path / "data", {name: client.acknowledged() for name, client in zip("ab", clients, strict=True)}
    )
    server.kill()


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """Batches that cannot be written are refused with 503 until there is room; those acknowledged before are kept."""
    begun_s = float(int(time.time()))
    server = Server(tmp_path, limit_bytes=1_200_000)
    acknowledged, status = 0, 202
    while status == 202 and acknowledged < 3_000:
        status = _post(server.port, acknowledged, begun_s)
        acknowledged += status == 202
    assert status == 503
    server.kill()
    server = Server(tmp_path)
    assert _post(server.port, acknowledged, begun_s) == 202
    _check(tmp_path / "data" / "metercast.db", tmp_path / "data", {"a": acknowledged + 1}, in_flight=0)
    server.kill()


def _post(port: int, sequence: int, begun_s: float) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/events", body("a", sequence, begun_s), {"Content-Type": MEDIA_TYPE})
    status = connection.getresponse().status
    connection.close()
    return status
