"""How quick the API answers: spend, operations and estimates of many users over a year of hours, with listeners."""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.stored_windows import create
from features.windows import KEYS, SCHEMA
from serving.storage import window_table

HOUR_NS = 3_600_000_000_000
PARTS = (("checkout", "CPU_INSTRUCTION", "executions"), ("checkout", "DISK_WRITE", ""), ("search", "NETWORK_SEND", ""))
ASKS = 100


def fill(path: Path, users: int, days: int) -> int:
    """Hours of usage with a daily and a weekly rhythm up to now; returns the number of windows."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    create(connection)
    now_ns = time.time_ns() // HOUR_NS * HOUR_NS
    hours = np.arange(days * 24)
    rng = np.random.default_rng(7)
    rhythm = 1.2 + np.sin(hours / 24 * 2 * np.pi) + 0.3 * (hours // 24 % 7 < 5)
    load = rng.lognormal(0.0, 0.6, users)
    keys = pl.DataFrame([(f"user{user:04d}", *part) for user in range(users) for part in PARTS], KEYS, orient="row")
    same = {"events": 9, "memory_bytes": 0, "network_bytes": 50_000, "disk_bytes": 20_000, "execution_time_ms": 9.5}
    for some in np.array_split(hours, max(1, days // 10)):  # rows of one series lie together, so many hours at once
        used = rhythm[some, None] * load * rng.gamma(4.0, 0.25, (len(some), users))
        of_part = np.repeat(used, len(PARTS), axis=1).ravel()
        frame = pl.concat([keys] * len(some)).with_columns(
            pl.Series("window_start", now_ns - (len(hours) - np.repeat(some, len(keys))) * HOUR_NS),
            pl.Series("cpu_cycles", (of_part * 1e9).astype(np.int64)),
            pl.when(pl.col("meter") != "").then(pl.Series(np.round(of_part * 40))).otherwise(0.0).alias("units"),
            *(pl.lit(value).alias(name) for name, value in same.items()),
        )
        window_table.add(connection, 3600, frame.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()))
    connection.commit()
    count = int(connection.execute("SELECT count(*) FROM rollups").fetchone()[0])
    connection.close()
    return count


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> float:
    """Seconds until the whole answer was there."""
    sent = None if body is None else json.dumps(body)
    started = time.perf_counter()
    connection.request(method, path, sent, {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    spent_s = time.perf_counter() - started
    assert response.status == 200, (path, text[:300])
    return spent_s


def listeners(port: int, count: int) -> list[socket.socket]:
    """Open streams of /v1/live."""
    streams = []
    for _ in range(count):
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(b"GET /v1/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        streams.append(stream)
    return streams


def told(seconds: list[float]) -> dict[str, float]:
    """Median, 99th percentile and rate."""
    ordered = sorted(seconds)
    return {
        "p50_ms": round(statistics.median(ordered) * 1e3, 1),
        "p99_ms": round(ordered[int(0.99 * (len(ordered) - 1))] * 1e3, 1),
        "per_s": round(len(ordered) / sum(ordered), 1),
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--listeners", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        windows = fill(data / "metercast.db", args.users, args.days)
        (data / "serve.yaml").write_text("windows_s: [3600]\nrequests_per_minute: 1000000\n")
        command = [sys.executable, "-m", "metercast.command", "serve", "--data", directory, "--port", "0", "--json"]
        with subprocess.Popen([*command, "--config", str(data / "serve.yaml")], stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            port = int(json.loads(server.stdout.readline())["url"].rpartition(":")[2])
            streams = listeners(port, args.listeners)
            figures = measure(http.client.HTTPConnection("127.0.0.1", port), args.users)
            for stream in streams:
                stream.close()
            server.terminate()
    print(json.dumps({"windows": windows, "users": args.users, "listeners": args.listeners} | figures, indent=2))


def measure(connection: http.client.HTTPConnection, users: int) -> dict[str, dict[str, float]]:
    """Latencies one after the other over users in random order."""
    order = [f"user{number:04d}" for number in np.random.default_rng(3).permutation(users)[:ASKS]]
    ask(connection, "GET", "/v1/users")
    figures = {"users": told([ask(connection, "GET", "/v1/users") for _ in range(5)])}
    for name in ("spend", "operations", "invoices"):
        figures[name] = told([ask(connection, "GET", f"/v1/{name}?user={user}") for user in order])
    fresh = [ask(connection, "POST", "/v1/estimates", {"user": user}) for user in order[:40]]
    cached = [ask(connection, "POST", "/v1/estimates", {"user": user}) for user in order[:40]]
    return figures | {"estimate, fresh": told(fresh), "estimate, cached": told(cached)}


if __name__ == "__main__":
    main()
