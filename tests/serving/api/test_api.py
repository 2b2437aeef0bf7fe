"""The API over real HTTP: a server process, events in, usage, forecasts, anomalies and bills out."""

from __future__ import annotations

import gzip
import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from metercast.event import BATCH_MEDIA_TYPE

from tests.features.events import batch, event

PLANS = Path(__file__).resolve().parents[3] / "configs" / "plans"


def serve(data: Path, *more: str) -> tuple[subprocess.Popen[str], str]:
    """A server process and its URL."""
    command = [sys.executable, "-m", "metercast.command", "serve", "--data", str(data), "--plans", str(PLANS), "--json"]
    process = subprocess.Popen([*command, "--port", "0", *more], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"]


def call(url: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    """Status and document of a request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, named), timeout=30) as response:
            text = response.read()
            return response.status, json.loads(text) if text[:1] in b"{[" else text.decode()
    except urllib.error.HTTPError as error:
        kind = error.headers["Content-Type"]
        return error.code, json.load(error) if kind == "application/problem+json" else {"detail": kind}


def send(url: str, events: list[dict[str, Any]], sequence: int, producer: str = "p") -> tuple[int, Any]:
    """Send a batch in the profiler's own form."""
    document = {"producer": producer, "epoch": 1, "sequence": sequence, "events": events}
    body = gzip.compress(json.dumps(document).encode())
    return call(f"{url}/v1/events", body, Content_Type=BATCH_MEDIA_TYPE, Content_Encoding="gzip")


def recent(at_s: float, *arguments: Any, **more: Any) -> dict[str, Any]:
    """An event ``at_s`` seconds from now."""
    return (
        event(*arguments, **more) | {"timestamp": time.time() + at_s}
        if arguments
        else event(0.0, **more) | {"timestamp": time.time() + at_s}
    )


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a minute of usage of two users."""
    process, address = serve(tmp_path_factory.mktemp("data"))
    events = [
        recent(-60.0 + second, user=user, cpuCycles=10**8 * (1 + second % 3), units=1.0, meter="executions")
        for second in range(55)
        for user in ("ada", "bo")
    ]
    assert send(address, events, 1) == (202, {"accepted": 110, "duplicate": 0, "rejected": []})
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        windows = call(f"{address}/v1/usage?user=ada")[1].get("windows", [])
        if len(windows) == 55:
            break
        time.sleep(0.1)
    yield address
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) in (0, -signal.SIGTERM)


def test_usage_is_what_was_sent(url: str) -> None:
    """Sums of windows are sums of events, and filters filter."""
    rows = call(f"{url}/v1/usage?user=ada&operation=checkout")[1]["windows"]
    assert sum(row["cpu_cycles"] for row in rows) == sum(10**8 * (1 + second % 3) for second in range(55))
    assert call(f"{url}/v1/usage?user=ada&operation=nothing")[1]["windows"] == []
    assert call(f"{url}/v1/users")[1] == {"users": ["ada", "bo"]}


def test_repeated_batches_count_once(url: str) -> None:
    """A repetition is told as one, and the same key with other events is refused."""
    events = [recent(-120.0, user="dup")]
    assert send(url, events, 5)[1]["accepted"] == 1
    assert send(url, events, 5)[1] == {"accepted": 0, "duplicate": 1, "rejected": []}
    status, problem = send(url, [recent(-110.0, user="dup")], 5)
    assert (status, problem["title"]) == (409, "Conflict")


def test_bad_rows_do_not_take_good_ones_with_them(url: str) -> None:
    """Each rejected row comes back with its reason."""
    events = [recent(-100.0, user="rows"), recent(-100.0, user="rows", cpuCycles=-1), recent(9_999.0, user="rows")]
    status, answer = send(url, events, 6)
    assert (status, answer["accepted"]) == (202, 1)
    assert [row["row"] for row in answer["rejected"]] == [1, 2]


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"{", {"Content_Type": BATCH_MEDIA_TYPE}, 400, "not valid JSON"),
        (b"{}", {"Content_Type": BATCH_MEDIA_TYPE}, 400, "a batch is"),
        (
            b'{"producer": 3, "epoch": 1, "sequence": 1, "events": []}',
            {"Content_Type": BATCH_MEDIA_TYPE},
            400,
            "producer",
        ),
        (b"x", {"Content_Type": "text/plain"}, 415, "text/plain"),
        (b"xx", {"Content_Type": BATCH_MEDIA_TYPE, "Content_Encoding": "gzip"}, 400, "damaged"),
        (b"xx", {"Content_Type": BATCH_MEDIA_TYPE, "Content_Encoding": "br"}, 415, "br"),
        (b"xx", {"Content_Type": "application/vnd.apache.arrow.stream"}, 400, "Arrow"),
        (b" " * (17 << 20), {"Content_Type": BATCH_MEDIA_TYPE}, 413, "smaller batches"),
        (
            gzip.compress(b" " * (65 << 20)),
            {"Content_Type": BATCH_MEDIA_TYPE, "Content_Encoding": "gzip"},
            413,
            "unpacks",
        ),
    ],
)
def test_bodies_that_cannot_be_read(url: str, body: bytes, headers: dict[str, str], status: int, message: str) -> None:
    """Each gets its status and says what was seen."""
    found, problem = call(f"{url}/v1/events", body, **headers)
    assert found == status
    assert message in problem["detail"]


def test_other_forms_of_events(url: str) -> None:
    """One object, a list, NDJSON and Arrow are taken alike; the same body again is a duplicate."""
    one = recent(-90.0, user="forms", cpuCycles=1)
    lines = "\n".join(json.dumps(recent(-80.0 + index, user="forms", cpuCycles=1)) for index in range(3)).encode()
    rows = batch([event(-5.0, "forms", cpuCycles=1)], 9, producer="arrow").rows
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    for body, kind, count in (
        (json.dumps(one).encode(), "application/json", 1),
        (json.dumps([one, one]).encode(), "application/json", 2),
        (lines, "application/x-ndjson", 3),
        (sink.getvalue().to_pybytes(), "application/vnd.apache.arrow.stream", 1),
    ):
        assert call(f"{url}/v1/events", body, Content_Type=kind)[1]["accepted"] == count
        assert call(f"{url}/v1/events", body, Content_Type=kind)[1]["duplicate"] == count


def test_forecasts_without_a_champion_say_so(url: str) -> None:
    """The stand-in is named, and has no version."""
    status, document = call(f"{url}/v1/forecasts?user=ada&horizon=10")
    assert status == 200
    assert document["model"]["name"] == "markov"
    assert document["model"]["version"] is None
    assert all(len(series["quantiles"]) == 10 for series in document["series"])


def estimate(url: str, **body: Any) -> tuple[int, Any]:
    """POST an estimate over the last minutes and the next."""
    now = time.time()
    period = {"period_start": str(int(now - 100)), "period_end": str(int(now + 60))}
    return call(
        f"{url}/v1/estimates", json.dumps({"user": "ada", **period, **body}).encode(), Content_Type="application/json"
    )


def test_estimates_are_distributions_that_add_up(url: str) -> None:
    """Quantiles rise from what was spent, parts add up, and two plans are compared on the same futures."""
    status, document = estimate(url, plans=["micro-operations", "per-request"], budget="100000")
    assert status == 200
    for one in document["estimates"]:
        quantiles = [Decimal(value) for value in one["quantiles"].values()]
        assert quantiles == sorted(quantiles)
        assert quantiles[0] >= Decimal(one["spend_so_far"]) > 0
        whole = sum(Decimal(row["expected"]) for row in one["operations"])
        assert abs(whole - Decimal(one["expected"])) < Decimal("0.01")
        assert one["budget"]["probability_over"] == 0
        for row in one["operations"]:
            assert abs(sum(Decimal(m["so_far"]) for m in row["microOperations"]) - Decimal(row["so_far"])) == 0
    assert document["comparison"]["cheapest"] in ("micro-operations", "per-request")
    assert 0.5 <= document["comparison"]["probability"] <= 1


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"plans": ["gold"]}, 404, "micro-operations"),
        ({"user": "nobody"}, 404, "no usage of user 'nobody'"),
        ({"period_end": "2020-01-01"}, 422, "not after"),
        ({"period_end": "soon"}, 422, "'soon'"),
        ({"paths": 1}, 422, "paths"),
        ({"period_end": "2030-01-01"}, 409, "too little history"),
    ],
)
def test_estimates_refuse_what_they_cannot_know(url: str, body: dict[str, Any], status: int, message: str) -> None:
    """Unknown plans and users, odd periods, and futures too far for the history."""
    found, problem = estimate(url, **body)
    assert found == status
    assert message in problem["detail"]


def test_live_tells_windows_as_they_close(url: str) -> None:
    """A window that closes after the request is streamed with its operations, under an id to resume from."""
    host = url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.request("GET", "/v1/live")
    response = connection.getresponse()
    assert response.headers["Content-Type"].startswith("text/event-stream")
    send(url, [recent(0.0, user="live", cpuCycles=77)], 50)
    event_name, number = "", 0
    for raw in response:
        line = raw.decode().strip()
        if line.startswith("event: "):
            event_name = line[7:]
        elif line.startswith("id: "):
            number = int(line[4:])
        elif line.startswith("data: ") and event_name == "window":
            rows = json.loads(line[6:])["operations"]
            if any(row["cpu_cycles"] == 77 for row in rows):
                break
    assert abs(number / 1e9 - time.time()) < 30
    connection.close()


def test_health_metrics_and_pages(url: str) -> None:
    """Machines find counters, people find a page with the spend and the API's reference."""
    assert call(f"{url}/healthz")[1] == {"status": "ok"}
    assert call(f"{url}/readyz")[1]["status"] == "ready"
    assert "metercast_events_accepted_total" in call(f"{url}/metrics")[1]
    now = int(time.time())
    page = call(f"{url}/?user=ada&start={now - 100}&end={now + 60}")[1]
    assert "ada will pay about" in page
    assert "<svg" in page
    assert "POST /v1/estimates" in call(f"{url}/docs")[1]
    assert call(f"{url}/nowhere")[0] == 404


def test_ports_in_use_and_bad_settings_end_with_code_2(url: str, tmp_path: Path) -> None:
    """One line says what to do."""
    port = url.rsplit(":", 1)[1]
    for arguments, message in (
        (["--port", port], "choose another --port"),
        (["--host", "0.0.0.0"], "only loopback"),
        (["--plans", str(tmp_path / "none")], "is no directory"),
        (["--config", str(tmp_path / "none.yaml")], "none.yaml"),
    ):
        command = [sys.executable, "-m", "metercast.command", "serve", "--data", str(tmp_path), "--plans", str(PLANS)]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
