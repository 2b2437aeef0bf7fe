"""Whatever is killed, cut off or full: nothing acknowledged is lost, nothing counts twice, state equals a clean replay.

A short form; `make chaos` kills a thousand times. SIGKILL proves nothing about a loss of power: there the databases'
settings promise that a commit was synced, and a disk that lies about it can lose what it had not written.
"""

from __future__ import annotations

import http.client
import os
import random
import sys
import time
from pathlib import Path

import pytest

from features.database import Location
from serving.commands.log import main as log_main
from serving.storage.history import History
from tests.postgresql import Server as DatabaseServer
from tests.serving.chaos import MEDIA_TYPE, ROWS, Server, body, cycles
from tests.serving.kill_rounds import KillRounds

KILLS = int(os.environ.get("METERCAST_KILLS", "8"))
"""Processes killed, half of them on each database."""

MINUTES = float(os.environ.get("METERCAST_MINUTES", "600"))
"""On each database no more are killed after so long; what was acknowledged until then is checked."""

SEED = int(os.environ.get("METERCAST_SEED", "7"))


def _check(location: Location, data: Path, acknowledged: dict[str, int], in_flight: int = 1) -> None:
    """The windows hold each acknowledged batch once, and at most one more a client, whose answer was lost."""
    history, end = History(location), time.monotonic() + 300
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
    """Servers with their engines, clients and the database server are killed amid requests; clocks jump meanwhile."""
    database: DatabaseServer | None = request.getfixturevalue("postgresql_server") if kind == "postgresql" else None
    rounds = KillRounds(tmp_path, random.Random(SEED), database)
    location: Location = rounds.url or tmp_path / "data" / "metercast.db"
    with rounds.running():
        rounds.run(KILLS // 2, time.monotonic() + 60 * MINUTES)
        for client in rounds.clients.values():
            client.wait_for(1)
            client.kill()
        _check(location, tmp_path / "data", rounds.acknowledged())
    print(f"{kind}: {rounds.told()}; none lost, none twice, windows as of a clean replay", file=sys.stderr)


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """Batches that cannot be written are refused with 503 until there is room; those acknowledged before are kept."""
    begun_s = float(int(time.time()))
    server = Server(tmp_path).start(limit_bytes=1_200_000).ready()
    acknowledged, status = 0, 202
    while status == 202 and acknowledged < 3_000:
        status = _post(server.port, acknowledged, begun_s)
        acknowledged += status == 202
    assert status == 503
    server.kill()
    server.start().ready()
    assert _post(server.port, acknowledged, begun_s) == 202
    _check(tmp_path / "data" / "metercast.db", tmp_path / "data", {"a": acknowledged + 1}, in_flight=0)
    server.kill()


def _post(port: int, sequence: int, begun_s: float) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v1/events", body("a", sequence, begun_s), {"Content-Type": MEDIA_TYPE})
    status = connection.getresponse().status
    connection.close()
    return status
