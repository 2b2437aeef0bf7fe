"""How quick the API answers: spend, operations and estimates of many users over a year of hours, with listeners."""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
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
TRAINED = 20


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


@contextmanager
def served(data: Path) -> Iterator[tuple[http.client.HTTPConnection, int]]:
    """A platform on a data directory: a connection to it, and its port."""
    (data / "serve.yaml").write_text("windows_s: [3600]\nrequests_per_minute: 1000000\n")
    command = [sys.executable, "-m", "metercast.command", "serve", "--data", str(data), "--port", "0", "--json"]
    with subprocess.Popen([*command, "--config", str(data / "serve.yaml")], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(json.loads(server.stdout.readline())["url"].rpartition(":")[2])
        yield http.client.HTTPConnection("127.0.0.1", port), port
        server.terminate()


def train(config: str, data: Path, days: int) -> None:
    """Put the champion of a training on a few users into a data directory."""
    with tempfile.TemporaryDirectory() as directory:
        fill(Path(directory) / "metercast.db", TRAINED, days)
        with served(Path(directory)) as (connection, _):
            until_visible(connection, "user0000")  # from now on the engine knows that the hours before have closed
        command = [sys.executable, "-m", "metercast.command", "train", config, "--data", directory, "--promote"]
        subprocess.run(command, check=True, stdout=sys.stderr)
        shutil.copytree(Path(directory) / "models" / "champion", data / "models" / "champion")


def ask(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, status: int = 200) -> float:
    """Seconds until the whole answer was there."""
    sent = None if body is None else json.dumps(body)
    started = time.perf_counter()
    connection.request(method, path, sent, {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    spent_s = time.perf_counter() - started
    assert response.status == status, (path, text[:300])
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
    parser.add_argument("--train", metavar="CONFIG", help=f"serve what this trains on the usage of {TRAINED} users")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        data = Path(directory)
        windows = fill(data / "metercast.db", args.users, args.days)
        if args.train:
            train(args.train, data, args.days)
        with served(data) as (connection, port):
            streams = listeners(port, args.listeners)
            figures = measure(connection, args.users)
            for stream in streams:
                stream.close()
    about = {"windows": windows, "users": args.users, "listeners": args.listeners, "model": args.train or "stand-in"}
    print(json.dumps(about | figures, indent=2))


def measure(connection: http.client.HTTPConnection, users: int) -> dict[str, dict[str, float]]:
    """Latencies one after the other over users in random order."""
    order = [f"user{number:04d}" for number in np.random.default_rng(3).permutation(users)[:ASKS]]
    ask(connection, "GET", "/v1/users")
    figures = {"users": told([ask(connection, "GET", "/v1/users") for _ in range(5)])}
    for name in ("spend", "operations", "invoices"):
        figures[name] = told([ask(connection, "GET", f"/v1/{name}?user={user}") for user in order])
    for name, ahead_days in (("this month", None), ("a month ahead", 30)):
        asked = [{"user": user} | (period(ahead_days) if ahead_days else {}) for user in order]
        for kind in ("fresh", "cached"):
            seconds = [ask(connection, "POST", "/v1/estimates", question) for question in asked]
            figures[f"estimate to the end of {name}, {kind}"] = told(seconds)
    figures["event to visible estimate"] = told([until_visible(connection, user) for user in order])
    return figures


def period(days: int) -> dict[str, str]:
    """A period that began with this day and has ``days`` to go: the longest look ahead of a bill by the month."""
    now_s = int(time.time()) // 86_400 * 86_400
    return {"period_start": _iso(now_s), "period_end": _iso(now_s + days * 86_400)}


def until_visible(connection: http.client.HTTPConnection, user: str) -> float:
    """Seconds from sending an event that costs 3 USD until the user's estimate, which was asked before, says so."""
    spent = _spent(connection, user)
    usage = {"cpuCycles": 10_000_000_000, "memoryBytes": 0, "networkBytes": 0, "diskBytes": 0, "executionTimeMs": 9.5}
    event = {
        "timestamp": time.time(),
        "operationID": "checkout",
        "microOperationType": "CPU_INSTRUCTION",
        "resourceUsage": usage,
        "userID": user,
        "executionID": 1,
        "parentExecutionID": 0,
    }
    started = time.perf_counter()
    ask(connection, "POST", "/v1/events", [event], status=202)
    while _spent(connection, user) < spent + Decimal("2.99"):
        assert time.perf_counter() - started < 30, "the event is not in the estimate after half a minute"
        time.sleep(0.005)
    return time.perf_counter() - started


def _spent(connection: http.client.HTTPConnection, user: str) -> Decimal:
    connection.request("POST", "/v1/estimates", json.dumps({"user": user}), {"Content-Type": "application/json"})
    return Decimal(json.loads(connection.getresponse().read())["estimates"][0]["spend_so_far"])


def _iso(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat()


if __name__ == "__main__":
    main()
