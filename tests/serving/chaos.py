"""Processes for the crash suite: a server whose clock may be off, and a client that goes on where it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROWS = 20
_SERVER = """
import resource, signal, sys, time
offset_s, limit_bytes = float(sys.argv.pop(1)), int(sys.argv.pop(1))
if limit_bytes:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
real_s, real_ns = time.time, time.time_ns
time.time = lambda: real_s() + offset_s
time.time_ns = lambda: real_ns() + round(offset_s * 1e9)
from serving.commands.serve import main
sys.exit(main(sys.argv[1:]))
"""
_CLIENT = """
import http.client, json, os, sys, time
from pathlib import Path
from tests.serving.chaos import body, MEDIA_TYPE, ROWS
place, address, producer, begun_s = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
log = os.open(place, os.O_CREAT | os.O_APPEND | os.O_RDWR)
sequence = len(place.read_text().split())
connection = None
while True:
    try:
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", int(address.read_text()), timeout=30)
        connection.request("POST", "/v1/events", body(producer, sequence, begun_s), {"Content-Type": MEDIA_TYPE})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, ValueError, http.client.HTTPException):
        connection = None
        time.sleep(0.05)
        continue
    if answer.status == 202:
        counted = json.loads(text)
        assert counted["accepted"] + counted["duplicate"] == ROWS, text
        os.write(log, f"{sequence}\\n".encode())
        sequence += 1
    elif answer.status not in (429, 503):
        sys.exit(f"{answer.status} {text!r}")
    else:
        time.sleep(0.1)
"""
MEDIA_TYPE = "application/vnd.metercast.batch+json"


def body(producer: str, sequence: int, begun_s: float) -> bytes:
    """A batch, the same for the same producer and sequence number."""
    events = [
        {
            "timestamp": begun_s - 600 + sequence % 300 + row / 1_000,
            "operationID": "checkout",
            "microOperationType": "CPU_INSTRUCTION",
            "userID": f"user{row % 3}",
            "resourceUsage": {"cpuCycles": sequence + row, "executionTimeMs": 0.1 * row},
        }
        for row in range(ROWS)
    ]
    return json.dumps({"producer": producer, "epoch": 1, "sequence": sequence, "events": events}).encode()


def cycles(acknowledged: int) -> int:
    """The cycles of the first so many batches of a producer."""
    return sum(number + row for number in range(acknowledged) for row in range(ROWS))


def _start(code: str, words: Sequence[str], **more: int) -> subprocess.Popen[str]:
    path = os.pathsep.join((str(ROOT), str(ROOT / "profiler")))
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.Popen([sys.executable, "-c", code, *words], text=True, cwd=ROOT, env=environment, **more)  # type: ignore[call-overload,no-any-return]


class Server:
    """`metercast serve` in a process of its own; its port is written to a file, where clients look it up."""

    def __init__(self, directory: Path, clock_off_s: float = 0.0, url: str | None = None, limit_bytes: int = 0) -> None:
        words = [str(clock_off_s), str(limit_bytes), "--data", str(directory / "data"), "--port", "0", "--json"]
        words += ["--database-url", url] if url else []
        self.process = _start(_SERVER, words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        self.port = int(json.loads(self.process.stdout.readline())["url"].rpartition(":")[2])
        waiting = directory / "port.new"
        waiting.write_text(str(self.port))
        waiting.rename(directory / "port")

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Client:
    """Sends batches one after the other and writes down which were acknowledged; started again, it goes on there."""

    def __init__(self, directory: Path, name: str, begun_s: float) -> None:
        self._acknowledged = directory / f"{name}.acknowledged"
        self._words = [str(self._acknowledged), str(directory / "port"), name, str(begun_s)]
        self.process = _start(_CLIENT, self._words)

    def acknowledged(self) -> int:
        """How many batches were acknowledged so far."""
        return len(self._acknowledged.read_text().split()) if self._acknowledged.exists() else 0

    def kill_and_start(self) -> None:
        """End it at whatever it does, and start it again."""
        self.kill()
        self.process = _start(_CLIENT, self._words)

    def kill(self) -> None:
        """End it; raises AssertionError when it had ended by itself, for an answer that it did not expect."""
        assert self.process.poll() is None, "the client was refused"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def wait_for(self, more: int) -> None:
        """Wait until so many more batches are acknowledged."""
        aim, end = self.acknowledged() + more, time.monotonic() + 60
        while self.acknowledged() < aim:
            assert self.process.poll() is None, "the client was refused"
            assert time.monotonic() < end, "nothing is acknowledged any more"
            time.sleep(0.01)
