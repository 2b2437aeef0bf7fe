"""Ingest over HTTP: a real server under uvicorn and real clients on loopback, events per CPU-second of the server.

Every row is of one run: the same bodies through the decoder alone (`parse`), through a handler with a pydantic model an
event (`pydantic`), to the acknowledgement after fsync (`durable`), and that with the engine beside it (`whole`).
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from metercast.event import BATCH_MEDIA_TYPE

from features.schema import ARROW_SCHEMA
from serving.ingest.arrow_bodies import ARROW_MEDIA_TYPE

ROOT = Path(__file__).parents[2]
_TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of body: a name, its media type, its events, how many requests, and how many connections send it."""

    name: str
    media_type: str
    events: int
    requests: int
    connections: int
    body: Callable[[int], bytes]


def _columns(count: int) -> dict[str, Any]:
    """Events of a busy service: 200 customers, 20 operations, 4 micro-operations, within the last minute."""
    rng = np.random.default_rng(7)
    kinds = ("CPU_INSTRUCTION", "MEMORY_ALLOC", "NETWORK_SEND", "DISK_READ")
    return {
        "timestamp": time.time() - 60 + np.sort(rng.uniform(0, 55, count)).round(6),
        "operationID": [f"operation_{one}" for one in rng.integers(0, 20, count)],
        "microOperationType": [kinds[one] for one in rng.integers(0, 4, count)],
        "userID": [f"customer-{one:04d}" for one in rng.integers(0, 200, count)],
        "executionID": rng.integers(1, 10**6, count),
        "cpuCycles": rng.integers(10**4, 10**8, count),
        "memoryBytes": rng.integers(0, 10**6, count),
        "networkBytes": rng.integers(0, 10**5, count),
        "executionTimeMs": rng.lognormal(0, 1, count).round(3),
    }


def _json_form(count: int, requests: int, connections: int) -> Form:
    columns = {name: list(map(_plain, values)) for name, values in _columns(count).items()}
    usage = ("cpuCycles", "memoryBytes", "networkBytes", "executionTimeMs")
    events = [
        {name: values[row] for name, values in columns.items() if name not in usage}
        | {"resourceUsage": {name: columns[name][row] for name in usage}}
        | {"units": 1.0, "meter": "executions", "source": "thread-clock"}
        for row in range(count)
    ]
    text = json.dumps(events, separators=(",", ":"))

    def body(sequence: int) -> bytes:
        return f'{{"producer":"bench-{count}","epoch":1,"sequence":{sequence},"events":{text}}}'.encode()

    return Form(f"JSON {count:,}", BATCH_MEDIA_TYPE, count, requests, connections, body)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _arrow_form(count: int, requests: int, connections: int, packed: bool) -> Form:
    columns = _columns(count)
    stamps = (columns["timestamp"] * 1e6).astype(np.int64) * 1_000
    arrays = {
        "timestamp": pa.array(stamps).cast(ARROW_SCHEMA.field("timestamp").type),
        "operation_id": pa.array(columns["operationID"]),
        "micro_operation_type": pa.array(columns["microOperationType"]),
        "cpu_cycles": pa.array(columns["cpuCycles"]),
        "memory_bytes": pa.array(columns["memoryBytes"]),
        "network_bytes": pa.array(columns["networkBytes"]),
        "execution_time_ms": pa.array(columns["executionTimeMs"]),
        "user_id": pa.array(columns["userID"]),
        "execution_id": pa.array(columns["executionID"]),
        "units": pa.repeat(1.0, count),
        "meter": pa.repeat("executions", count),
        "source": pa.repeat("thread-clock", count),
    }
    if packed:
        arrays = {name: one.dictionary_encode() if one.type == pa.string() else one for name, one in arrays.items()}
    options = pa.ipc.IpcWriteOptions(compression="lz4" if packed else None)

    def body(sequence: int) -> bytes:
        key = {"producer": f"bench-{count}-{packed}", "epoch": "1", "sequence": str(sequence)}
        batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays)).replace_schema_metadata(key)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
            writer.write_batch(batch)
        return bytes(sink.getvalue())

    name = f"Arrow {count:,}{' dictionary, lz4' if packed else ''}"
    return Form(name, ARROW_MEDIA_TYPE, count, requests, connections, body)


class Server:
    """The benchmark's server in a process of its own."""

    def __init__(self, mode: str, data: Path) -> None:
        words = [sys.executable, str(ROOT / "tests" / "benchmarks" / "ingest_server.py"), mode, "--data", str(data)]
        path = os.pathsep.join((str(ROOT), str(ROOT / "profiler")))
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path})
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def cpu_s(self) -> float:
        """User and system seconds of the server so far, all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_S

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


class Client:
    """One connection that sends what it is given and reads the answers, timing each."""

    def __init__(self, port: int, form: Form) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {form.media_type}\r\n"
        self.latencies_s: list[float] = []

    def send(self, body: bytes) -> None:
        """One request; raises AssertionError unless it is acknowledged."""
        started = time.perf_counter()
        self._socket.sendall(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            part = self._socket.recv(65_536)
            assert part, answer
            answer += part
        self.latencies_s.append(time.perf_counter() - started)
        assert answer.startswith(b"HTTP/1.1 202"), answer


def _measure(server: Server, form: Form, first_sequence: int) -> dict[str, Any]:
    """A form through a server: its rate per CPU-second and in all, and how long acknowledgements take."""
    clients = [Client(server.port, form) for _ in range(form.connections)]
    numbers = range(first_sequence, first_sequence + form.requests)
    shares = [[form.body(number) for number in numbers[place :: len(clients)]] for place in range(len(clients))]
    clients[0].send(form.body(first_sequence + form.requests))  # the first pays for imports
    clients[0].latencies_s.clear()

    def work(client: Client, bodies: list[bytes]) -> None:
        for body in bodies:
            client.send(body)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(clients, shares, strict=True)]
    cpu_s, started = server.cpu_s(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent_s, cpu_s = time.perf_counter() - started, server.cpu_s() - cpu_s
    latencies_ms = 1e3 * np.array([one for client in clients for one in client.latencies_s])
    return {
        "events_per_cpu_s": round(form.events * form.requests / cpu_s),
        "events_per_s": round(form.events * form.requests / spent_s),
        "p50_ms": round(float(np.percentile(latencies_ms, 50)), 2),
        "p99_ms": round(float(np.percentile(latencies_ms, 99)), 2),
        "body_bytes": len(shares[0][0]),
    }


def main() -> None:
    """Print one line of JSON a row, best of the rounds by CPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the requests")
    parser.add_argument("--mode", action="append", help="parse, pydantic, durable, whole; default: all")
    parser.add_argument("--form", help="only forms whose name has this in it")
    args = parser.parse_args()
    forms = [
        _json_form(1, 4_000, 1),
        _json_form(100, 4_000, 4),
        _json_form(1_000, 600, 4),
        _arrow_form(1_000, 2_000, 4, False),
        _arrow_form(10_000, 400, 4, False),
        _arrow_form(10_000, 400, 4, True),
    ]
    for form in forms:
        if args.form and args.form not in form.name:
            continue
        requests = max(8, round(form.requests * args.scale))
        shorter = Form(form.name, form.media_type, form.events, requests, form.connections, form.body)
        best: dict[str, dict[str, Any]] = {}
        for _ in range(args.rounds):  # the modes take turns, so that a busy moment does not hit one of them only
            for mode in args.mode or ("parse", "pydantic", "durable", "whole"):
                if mode == "pydantic" and form.media_type != BATCH_MEDIA_TYPE:
                    continue
                with tempfile.TemporaryDirectory() as directory:
                    server = Server(mode, Path(directory))
                    try:
                        found = _measure(server, shorter, 0)
                    finally:
                        server.stop()
                if mode not in best or found["events_per_cpu_s"] > best[mode]["events_per_cpu_s"]:
                    best[mode] = found
        for mode, found in best.items():
            print(json.dumps({"form": form.name, "mode": mode} | found), flush=True)


if __name__ == "__main__":
    main()
