"""Processes for the crash suite: a server whose clock may be off, and a client that goes on where it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
ROWS = 20
LINE_BYTES = 10
"""A line of a client's record of what was acknowledged."""

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
import http.client, json, os, random, sys, time
from pathlib import Path
from tests.serving.chaos import body, LINE_BYTES, MEDIA_TYPE, ROWS
place, directory, producer, begun_s = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
log = os.open(place, os.O_CREAT | os.O_APPEND | os.O_RDWR)
sequence = place.stat().st_size // LINE_BYTES
connection = None
while True:
    try:
        if connection is None:
            port = int(random.choice(sorted(directory.glob("server*.port"))).read_text())
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/v1/events", body(producer, sequence, begun_s), {"Content-Type": MEDIA_TYPE})
        answer = connection.getresponse()
        text = answer.read()
    except (OSError, IndexError, http.client.HTTPException):
        connection = None
        time.sleep(0.05)
        continue
    if answer.status == 202:
        counted = json.loads(text)
        assert counted["accepted"] + counted["duplicate"] == ROWS, text
        os.write(log, f"{sequence:9}\\n".encode())
        sequence += 1
        time.sleep(random.random() * 0.15)
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

    def __init__(self, directory: Path, url: str | None = None, number: int = 0) -> None:
        """Not started yet; those that share a database differ in ``number``."""
        self._place = directory / f"server{number}.port"
        self._told = directory / f"server{number}.log"
        self._words = ["--data", str(directory / "data"), "--port", "0", "--json"]
        self._words += ["--database-url", url] if url else []
        self.port = 0

    def start(self, clock_off_s: float = 0.0, limit_bytes: int = 0) -> Self:
        """Begin to start; `ready` waits for its end."""
        with self._told.open("a") as told:
            words = [str(clock_off_s), str(limit_bytes), *self._words]
            self.process = _start(_SERVER, words, stdout=subprocess.PIPE, stderr=told)
        return self

    def ready(self) -> Self:
        """Wait until it listens; raises AssertionError with what it said when it ends instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self._told.read_text()[-2_000:]
        self.port = int(json.loads(line)["url"].rpartition(":")[2])
        waiting = self._place.with_suffix(".new")
        waiting.write_text(str(self.port))
        waiting.rename(self._place)
        return self

    def leads(self) -> bool:
        """Whether its engine is the one that runs; of servers that share a database the others wait."""
        end = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
                    return b"\nmetercast_engine_leads 1\n" in answer.read()
            except urllib.error.HTTPError:  # its database was killed a moment ago
                assert time.monotonic() < end, "the server does not come back"
                time.sleep(0.1)

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
        self._words = [str(self._acknowledged), str(directory), name, str(begun_s)]

    def acknowledged(self) -> int:
        """How many batches were acknowledged so far."""
        return self._acknowledged.stat().st_size // LINE_BYTES if self._acknowledged.exists() else 0

    def start(self) -> None:
        """Go on where it was killed."""
        self.process = _start(_CLIENT, self._words)

    def kill(self) -> None:
        """End it; raises AssertionError when it had ended by itself, for an answer that it did not expect."""
        assert self.process.poll() in (None, -signal.SIGKILL), "the client was refused"
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def wait_for(self, more: int) -> None:
        """Wait until so many more batches are acknowledged."""
        aim, end = self.acknowledged() + more, time.monotonic() + 300
        while self.acknowledged() < aim:
            assert self.process.poll() is None, "the client was refused"
            assert time.monotonic() < end, "nothing is acknowledged any more"
            time.sleep(0.01)
