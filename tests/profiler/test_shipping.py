"""What was recorded arrives once: over a server that goes away, a full ring, a corrupted spool."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

from tests.profiler.run_program import run_program, runs, total

PROGRAM = """
from metercast import operation
for _ in range(50):
    with operation("work"):
        open("f.bin", "wb", 0).write(b"x" * 10)
"""


class Receiver(BaseHTTPRequestHandler):
    """Takes batches, and can be told to answer with an error first."""

    answers: ClassVar[list[int]] = []
    batches: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.answers.pop(0) if self.answers else 202
        if status == 202:
            self.batches.append(json.loads(gzip.decompress(body)))
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def receiver(*answers: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server and the batches that it took."""
    Receiver.answers, Receiver.batches = list(answers), []
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", Receiver.batches
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _run(directory: Path, url: str) -> subprocess.CompletedProcess[str]:
    (directory / "p.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "metercast.command", "run", "--to", url, "p.py"]
    environment = {"METERCAST_SPOOL": str(directory / "spool"), "METERCAST_TIMEOUT_S": "4", "PATH": "/usr/bin"}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=True
    )


def _events(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = [(batch["producer"], batch["epoch"], batch["sequence"]) for batch in batches]
    assert len(keys) == len(set(keys))
    return [event for batch in batches for event in batch["events"]]


def test_errors_and_pressure_are_waited_out(tmp_path: Path) -> None:
    """After 503 and 429 the same batches come again and nothing is missing."""
    with receiver(503, 429) as (url, batches):
        _run(tmp_path, url)
        events = _events(batches)
    assert runs(events, "work") == 50
    assert total(events, "work", "DISK_WRITE", "diskBytes") == 500


def test_a_server_that_is_away_gets_it_later(tmp_path: Path) -> None:
    """Batches of a run without a server are spooled, and sent by the next run beside its own."""
    with receiver() as (url, _):
        pass
    _run(tmp_path, url)
    Receiver.batches = []
    server = HTTPServer(("127.0.0.1", int(url.rsplit(":", 1)[1])), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    _run(tmp_path, url)
    server.shutdown()
    thread.join()
    server.server_close()
    assert runs(_events(Receiver.batches), "work") == 100
    assert not list((tmp_path / "spool").rglob("*.json.gz"))


def test_a_corrupted_spool_file_blocks_nothing(tmp_path: Path) -> None:
    """What the server refuses is put aside under another name, and the rest is delivered."""
    with receiver(400) as (url, batches):
        place = tmp_path / "spool" / "".join(letter if letter.isalnum() else "_" for letter in url)
        place.mkdir(parents=True)
        (place / "a-1-000000001.json.gz").write_bytes(b"broken")
        _run(tmp_path, url)
        assert runs(_events(batches), "work") == 50
    assert [path.name for path in place.iterdir()] == ["a-1-000000001.json.gz.refused"]


def test_a_full_ring_keeps_the_totals(tmp_path: Path) -> None:
    """Detail that found no room is counted as dropped, and its totals are billed all the same."""
    events = run_program(tmp_path, PROGRAM, METERCAST_RING_CAPACITY="20", METERCAST_INTERVAL_S="5")
    assert runs(events, "work") == 50
    assert total(events, "work", "DISK_WRITE", "diskBytes") == 500
    own = [event for event in events if event["microOperationType"] == "PROFILER_SELF"]
    assert sum(event["units"] for event in own if event["meter"] == "dropped_events") > 50


def test_the_kill_switch(tmp_path: Path) -> None:
    """METERCAST_OFF runs the program as if the profiler were not there."""
    assert run_program(tmp_path, "from metercast import operation\nwith operation('w'): pass", METERCAST_OFF="1") == []


def test_the_programs_exit_code_is_kept(tmp_path: Path) -> None:
    """A metered program fails as it would unmetered."""
    (tmp_path / "p.py").write_text("import sys\nsys.exit(7)")
    command = [sys.executable, "-m", "metercast.command", "run", str(tmp_path / "p.py")]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 7
