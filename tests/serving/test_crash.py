"""A server that is killed again and again loses nothing it acknowledged, and counts nothing twice."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from metercast.event import BATCH_MEDIA_TYPE

from serving.commands.log import main as log_main
from serving.storage.history import History

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("METERCAST_KILLS", "2"))
ROWS = 20
STARTED_S = int(time.time())


class Server:
    """`metercast serve` in a process of its own."""

    def __init__(self, data: Path) -> None:
        code = "import sys; from serving.commands.serve import main; sys.exit(main(sys.argv[1:]))"
        words = [sys.executable, "-c", code, "--data", str(data), "--port", "0", "--json"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "profiler")))}
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
        assert self.process.stdout is not None
        url = urlsplit(json.loads(self.process.stdout.readline())["url"])
        self.connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=30)

    def begin(self, sequence: int) -> None:
        """Send one batch, the same for the same sequence number, without waiting for the answer."""
        body = json.dumps({"producer": "crash", "epoch": 1, "sequence": sequence, "events": _events(sequence)})
        self.connection.request("POST", "/v1/events", body, {"Content-Type": BATCH_MEDIA_TYPE})

    def send(self, sequence: int) -> dict[str, Any]:
        """Send one batch and wait until it is acknowledged."""
        self.begin(sequence)
        answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status == 202, text
        return dict(json.loads(text))

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.connection.close()


def _events(sequence: int) -> list[dict[str, Any]]:
    return [
        {
            "timestamp": STARTED_S - 600 + sequence % 300 + row / 1_000,
            "operationID": "checkout",
            "microOperationType": "CPU_INSTRUCTION",
            "userID": f"user{row % 3}",
            "resourceUsage": {"cpuCycles": sequence + row, "executionTimeMs": 0.1 * row},
        }
        for row in range(ROWS)
    ]


@pytest.mark.slow
def test_killed_servers_lose_and_double_nothing(tmp_path: Path) -> None:
    """Every acknowledged batch is in log and windows once, after kills amid requests and steps of the engine."""
    sequence, chance = 0, random.Random(7)
    for _ in range(KILLS):
        server = Server(tmp_path)
        until = time.monotonic() + chance.uniform(0.1, 1.0)
        while time.monotonic() < until:
            server.send(sequence)
            sequence += 1
        # The answer to this one is lost; the next server gets it again and must count it once, whatever became of it.
        server.begin(sequence)
        time.sleep(chance.uniform(0.0, 0.01))
        server.kill()
    acknowledged = range(sequence)
    server = Server(tmp_path)
    for number in acknowledged:
        answer = server.send(number)
        assert (answer["accepted"], answer["duplicate"]) == (0, ROWS), f"batch {number} was acknowledged and lost"
    server.send(sequence)
    acknowledged = range(sequence + 1)
    _wait_for_engine(tmp_path, len(acknowledged) * ROWS)
    server.kill()
    windows = History(tmp_path / "metercast.db").windows(3600, 0, 2**62)
    assert windows["events"].sum() == len(acknowledged) * ROWS
    expected = sum(number + row for number in acknowledged for row in range(ROWS))
    assert windows["cpu_cycles"].sum() == expected
    assert log_main(["verify", "--data", str(tmp_path)]) == 0
    assert log_main(["replay", "--data", str(tmp_path)]) == 0


def _wait_for_engine(data: Path, events: int) -> None:
    history, end = History(data / "metercast.db"), time.monotonic() + 30
    while history.windows(3600, 0, 2**62)["events"].sum() < events:
        assert time.monotonic() < end, "the engine does not catch up"
        time.sleep(0.05)
