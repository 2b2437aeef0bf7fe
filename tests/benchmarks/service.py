"""CPU per request of a tiny FastAPI service: bare, metered, under OpenTelemetry and under profilers, in one run.

Each request reads a file, hashes it, asks SQLite and awaits once. All servers run side by side and are asked in turn,
so that a slow moment of the machine falls on all alike; the CPU is the whole server process's, shipping included. A
tool that is not installed is left out.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS, REQUESTS = 15, 150
MODES = (
    "bare",
    "metercast python",
    "metercast compiled",
    "opentelemetry",
    "opentelemetry per step",
    "yappi",
    "viztracer",
)


class Server:
    """One server process and a connection to it."""

    def __init__(self, mode: str, directory: Path) -> None:
        engine = mode.partition(" ")[2] if mode.startswith("metercast") else ""
        program = [str(Path(__file__)), "serve", mode, str(directory)]
        command = [sys.executable, *program]
        if engine:
            batches = str(directory / mode.replace(" ", "-"))
            command = [sys.executable, "-m", "metercast.command", "run", "--to", batches, "--", *program]
        environment = os.environ | ({"METERCAST_ENGINE": engine} if engine else {})
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd=ROOT
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.connection = http.client.HTTPConnection("127.0.0.1", int(line)) if line else None

    def get(self, path: str) -> bytes:
        """One request on the kept connection."""
        assert self.connection is not None
        self.connection.request("GET", path, headers={"X-User": "bench"})
        return self.connection.getresponse().read()

    def cpu_per_request_us(self) -> float:
        """CPU microseconds of a request, over one series."""
        before = int(self.get("/cpu"))
        for number in range(REQUESTS):
            self.get(f"/orders/{number}")
        return (int(self.get("/cpu")) - before) / REQUESTS / 1e3


def main() -> None:
    """Print one JSON document; with `serve`, be one of the servers."""
    if len(sys.argv) > 1:
        serve(sys.argv[2], Path(sys.argv[3]))
        return
    with tempfile.TemporaryDirectory() as directory:
        servers = {mode: Server(mode, Path(directory)) for mode in MODES}
        servers = {mode: server for mode, server in servers.items() if server.connection is not None}
        try:
            for server in servers.values():
                server.cpu_per_request_us()
            taken = [{mode: server.cpu_per_request_us() for mode, server in servers.items()} for _ in range(ROUNDS)]
        finally:
            for server in servers.values():
                server.process.kill()
                server.process.wait()
    figures = {
        mode: {
            "cpu_us_per_request": round(statistics.median(row[mode] for row in taken), 1),
            "times_bare": round(statistics.median(row[mode] / row["bare"] for row in taken), 3),
        }
        for mode in servers
    }
    print(json.dumps(figures, indent=2))


def serve(mode: str, directory: Path) -> None:
    """The service itself; knows nothing of Metercast."""
    import asyncio
    import contextlib
    import hashlib
    import socket
    import sqlite3
    import time

    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()
    page = directory / f"page-{mode.replace(' ', '-')}"
    page.write_bytes(os.urandom(20_000))
    database = sqlite3.connect(f"{page}.db")
    database.execute("create table orders (id integer primary key, text blob)")
    database.executemany("insert into orders values (?, ?)", ((n, b"x" * 500) for n in range(REQUESTS)))
    database.commit()
    step = _tracing(app, per_step="step" in mode) if mode.startswith("open") else lambda _: contextlib.nullcontext()
    _profile(mode)

    @app.get("/orders/{order}")
    async def order(order: int) -> dict[str, object]:
        with step("DISK_READ"):
            data = page.read_bytes()
        with step("CPU_INSTRUCTION"):
            digest = hashlib.sha256(data).hexdigest()
        with step("DATABASE"):
            row = database.execute("select length(text) from orders where id = ?", (order,)).fetchone()
        with step("WAIT"):
            await asyncio.sleep(0)
        return {"order": order, "digest": digest, "size": row[0]}

    @app.get("/cpu")
    async def cpu() -> int:
        return time.process_time_ns()

    # with the protocol named, as a server of its own makes it: only then does asyncio send without delay
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    plain = {"loop": "asyncio", "http": "h11"}  # what a bare `pip install uvicorn` runs on, whatever else is installed
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=600, **plain)
    server = uvicorn.Server(config)
    server.run(sockets=[listener])


def _tracing(app: object, per_step: bool) -> object:
    """OpenTelemetry's instrumentation of FastAPI with a batch processor, and a span a step by hand if asked for."""
    import contextlib

    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        def export(self, spans: object) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
    tracer = provider.get_tracer("bench")
    return tracer.start_as_current_span if per_step else lambda _: contextlib.nullcontext()


def _profile(mode: str) -> None:
    """Start the profiler of that name, as its documentation says for a running program."""
    if mode == "yappi":
        import yappi

        yappi.set_clock_type("cpu")
        yappi.start()
    elif mode == "viztracer":
        from viztracer import VizTracer

        VizTracer(verbose=0).start()


if __name__ == "__main__":
    main()
