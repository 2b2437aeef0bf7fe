"""Servers: what each user is billed for requests is what the client sent and got, to the byte."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time

import pytest

from ..conftest import environment, read_batches

SERVICE = """
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse
app = FastAPI()
@app.get("/small/{name}")
async def small(name: str): return {"name": name}
@app.get("/thread")
def thread(): return "x" * 1000
@app.get("/large")
async def large(): return StreamingResponse((b"l" * 100_000 for _ in range(30)))
@app.post("/upload")
async def upload(request: Request): return {"size": len(await request.body())}
"""
FLASK = """
import flask
app = flask.Flask(__name__)
@app.get("/small/<name>")
def small(name): return {"name": name}
@app.get("/thread")
def thread(): return "x" * 1000
@app.get("/large")
def large(): return flask.Response(b"l" * 100_000 for _ in range(30))
@app.post("/upload")
def upload(): return {"size": len(flask.request.get_data())}
"""


class Peer:
    """A client with a kept connection that counts what it sent and got for each user."""

    def __init__(self, port):
        self.port, self.counts, self.connection = port, {}, None

    def ask(self, user, path, body=b""):
        """One request; reads the whole response by its length or chunks."""
        if self.connection is None:
            self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: x\r\nX-User: {user}\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self.connection.sendall(request)
        answer, is_kept = self._answer()
        sent, got = self.counts.get(user, (0, 0))
        self.counts[user] = sent + len(request), got + len(answer)
        if not is_kept:
            self.connection.close()
            self.connection = None
        return answer

    def close(self):
        """Hang up, and let the server end the request: a signal would wake it by a byte of its own meanwhile."""
        if self.connection is not None:
            self.connection.close()
        time.sleep(0.3)

    def _answer(self):
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        lowered = head.lower()
        if b"transfer-encoding: chunked" in lowered:
            while not data.endswith(b"\r\n0\r\n\r\n"):
                data += self._receive()
        elif b"content-length:" in lowered:
            missing = int(lowered.split(b"content-length:")[1].split()[0]) - len(rest)
            while missing > 0:
                part = self._receive()
                data, missing = data + part, missing - len(part)
        else:
            with contextlib.suppress(ConnectionError):
                while True:
                    data += self._receive()
        return data, b"connection: close" not in lowered and lowered.startswith(b"http/1.1")

    def _receive(self):
        part = self.connection.recv(1 << 16)
        if not part:
            raise ConnectionError("the server closed the connection")
        return part


def serve(directory, engine, port, *program, **more):
    """A server under `metercast run` in a process of its own, once it listens."""
    env = environment(
        **{"METERCAST_ENGINE": engine, "METERCAST_CPU_BUDGET": "1", "PYTHONUNBUFFERED": "1", "METERCAST_TO": "batches"}
        | more
    )
    command = [sys.executable, "-m", "metercast.command", "run", *program]
    process = subprocess.Popen(command, cwd=directory, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return process
        time.sleep(0.05)
    process.kill()
    raise AssertionError(process.communicate()[0].decode())


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def billed(directory):
    """{user: (received, sent)} of all batches."""
    found = {}
    for batch in read_batches(directory / "batches"):
        for event in batch["events"]:
            place = {"NETWORK_RECEIVE": 0, "NETWORK_SEND": 1}.get(event["microOperationType"])
            if place is not None:
                pair = found.setdefault(event["userID"], [0, 0])
                pair[place] += event["resourceUsage"]["networkBytes"]
    return {user: tuple(pair) for user, pair in found.items()}


SERVERS = {
    "uvicorn-h11-asyncio": ("-m", "uvicorn", "service:app", "--http", "h11", "--loop", "asyncio", "--port"),
    "uvicorn-httptools-uvloop": ("-m", "uvicorn", "service:app", "--http", "httptools", "--loop", "uvloop", "--port"),
    "gunicorn-sync": ("--", "gunicorn", "flasked:app", "--workers", "2", "--bind"),
    "gunicorn-gthread": ("--", "gunicorn", "flasked:app", "-k", "gthread", "--threads", "3", "--bind"),
}


@pytest.mark.parametrize("engine", ["python", "compiled"])
@pytest.mark.parametrize("server", SERVERS)
def test_requests_are_billed_what_the_client_saw(server, engine, tmp_path):
    """Small and large answers, uploads, threads and streams, three users taking turns on one kept connection."""
    if "uvloop" in server and engine == "python":
        pytest.skip("uvloop calls the kernel from C, below the Python engine")
    pytest.importorskip(server.partition("-")[0])
    (tmp_path / "service.py").write_text(SERVICE)
    (tmp_path / "flasked.py").write_text(FLASK)
    port = free_port()
    where = f"127.0.0.1:{port}" if "gunicorn" in server else str(port)
    process = serve(tmp_path, engine, port, *SERVERS[server], where)
    peer = Peer(port)
    for user in ("ann", "bob", "ann", "eve"):
        time.sleep(0.1)  # a head that comes before the last request has ended on the server is that one's
        peer.ask(user, "/small/a")
        peer.ask(user, "/thread")
        assert b'"size":700000' in peer.ask(user, "/upload", b"u" * 700_000).replace(b" ", b"")
        assert len(peer.ask(user, "/large")) > 3_000_000
    peer.close()
    process.terminate()
    output = process.communicate(timeout=30)[0].decode()
    found = billed(tmp_path)
    assert {user: found.get(user) for user in peer.counts} == peer.counts, output + json.dumps(found)
