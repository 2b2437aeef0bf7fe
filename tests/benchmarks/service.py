"""CPU per request of a tiny FastAPI service: bare, metered, under OpenTelemetry and under profilers, in one run.

Each request reads a file, hashes it, asks SQLite and awaits once. All servers run side by side and are asked in turn,
so that a slow moment of the machine falls on all alike. The CPU is that of the whole server process over a series, long
enough for what it recorded to be shipped meanwhile: to a receiver in a process of its own, and in one mode to files.
What a server uses while nobody asks is told beside it. A tool that does not start, as one that is not installed, is
left out, and why is told.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUNDS, REQUESTS, IDLE_S = 11, 700, 10.0
MODES = (
    "bare",
    "metercast python",
    "metercast compiled",
    "metercast compiled, to files",
    "metercast compiled, allocations",
    "opentelemetry",
    "opentelemetry per step",
    "yappi",
    "viztracer",
    "scalene",
)


class Server:
    """One server process and a connection to it."""

    def __init__(self, mode: str, directory: Path, receiver: str) -> None:
        program = [str(Path(__file__)), "serve", mode, str(directory)]
        command, environment = [sys.executable, *program], dict(os.environ)
        if mode.startswith("metercast"):
            to = str(directory / "batches") if mode.endswith("files") else receiver
            command = [sys.executable, "-m", "metercast.command", "run", "--to", to, "--", *program]
            environment["METERCAST_ENGINE"] = mode.split()[1].rstrip(",")
            environment["METERCAST_ALLOCATIONS"] = "1" if mode.endswith("allocations") else ""
        elif mode == "scalene":  # is not started within a program; `---` ends its own options
            options = ["--cpu-only", "-o", str(directory / "scalene.json")]
            command = [sys.executable, "-m", "scalene", "run", *options, program[0], "---", *program[1:]]
        with (directory / f"{mode}.errors").open("w") as errors:
            pipes = {"stdout": subprocess.PIPE, "stderr": errors, "text": True}
            self.process = subprocess.Popen(command, env=environment, cwd=ROOT, start_new_session=True, **pipes)
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        self.connection = http.client.HTTPConnection("127.0.0.1", int(line)) if line.isdecimal() else None
        told = Path(errors.name).read_text().strip().splitlines()[-1:]
        self.problem = "" if self.connection else "".join(told) or line or "it ended without a word"

    def get(self, path: str) -> bytes:
        """One request on the kept connection."""
        assert self.connection is not None
        self.connection.request("GET", path, headers={"X-User": "bench"})
        return self.connection.getresponse().read()

    def cpu_ns(self) -> int:
        """CPU of the process so far."""
        return int(self.get("/cpu"))

    def series(self) -> float:
        """CPU microseconds of a request, over a series."""
        before_ns = self.cpu_ns()
        for number in range(REQUESTS):
            self.get(f"/orders/{number}")
        return (self.cpu_ns() - before_ns) / REQUESTS / 1e3


def main() -> None:
    """Print one JSON document; with `serve` or `receive`, be one of the servers or the receiver."""
    if len(sys.argv) > 1:
        receive() if sys.argv[1] == "receive" else serve(sys.argv[2], Path(sys.argv[3]))
        return
    with tempfile.TemporaryDirectory() as directory:
        receiver = subprocess.Popen([sys.executable, __file__, "receive"], stdout=subprocess.PIPE, text=True)
        assert receiver.stdout is not None
        url = receiver.stdout.readline().strip()
        started = {mode: Server(mode, Path(directory), url) for mode in MODES}
        servers = {mode: server for mode, server in started.items() if server.connection is not None}
        try:
            for server in servers.values():
                server.series()
            used = [{mode: server.series() for mode, server in servers.items()} for _ in range(ROUNDS)]
            idle = {mode: -server.cpu_ns() for mode, server in servers.items()}
            time.sleep(IDLE_S)
            idle = {mode: used_ns + servers[mode].cpu_ns() for mode, used_ns in idle.items()}
        finally:
            for server in started.values():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(server.process.pid, signal.SIGKILL)  # scalene's server is a child of what was started
                server.process.wait()
            receiver.kill()
            receiver.wait()
    figures = {
        mode: {
            "cpu_us_per_request": round(statistics.median(row[mode] for row in used), 1),
            "times_bare": round(statistics.median(row[mode] / row["bare"] for row in used), 3),
            "idle_cpu_percent": round(idle[mode] / IDLE_S / 1e7, 3),
            "times_bare_in_total": round(sum(row[mode] for row in used) / sum(row["bare"] for row in used), 3),
        }
        for mode in servers
    }
    left_out = {mode: {"left_out": server.problem} for mode, server in started.items() if mode not in servers}
    print(json.dumps(figures | left_out, indent=2))


def receive() -> None:
    """Accept every batch, as a server of events does, and say where."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            receipt = b'{"accepted":1,"duplicate":0,"rejected":[]}'
            self.send_response(202)
            self.send_header("Content-Length", str(len(receipt)))
            self.end_headers()
            self.wfile.write(receipt)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


def serve(mode: str, directory: Path) -> None:
    """The service itself; knows nothing of Metercast."""
    import asyncio
    import hashlib
    import socket
    import sqlite3

    import uvicorn
    from fastapi import FastAPI

    app = FastAPI()
    page = directory / f"page-{mode.replace(' ', '-').replace(',', '')}"
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
