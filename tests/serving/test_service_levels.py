"""Promises are measured from a user's own events, and broken ones are credited with the evidence."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving.api.app import create_app
from tests.serving.api.test_commerce import iso
from tests.serving.conftest import PLANS, event

D = Decimal
GOLD = """
plan: {id: gold-plan, version: 1, currency: USD}
meters: {requests: {value: units, meter: executions}}
charges:
  - {id: requests, meter: requests, model: per_unit, unit_price: "1", modifiers: [gold]}
sla:
  gold:
    factor: "1.20"
    measure: {latency_p50_ms: 250, error_percent: 10}
    window_s: 60
    credits: [{below: "99.9", percent: "10"}, {below: "70", percent: "25"}]
    cap_percent: "50"
"""


def _execution(number: int, at_s: float, latency_ms: float, user: str = "acme", failed: bool = False) -> list[Any]:
    cpu = event(user, "checkout", "CPU_INSTRUCTION", at_s, executionTimeMs=10.0)
    wait = event(user, "checkout", "WAIT", at_s, executionTimeMs=latency_ms - 10.0)
    rows = [cpu, wait]
    if failed:
        rows.append(event(user, "checkout", "CUSTOM", at_s) | {"meter": "errors", "units": 1.0})
    return [row | {"executionID": number} for row in rows]


@pytest.fixture
def server(settings: Any, tmp_path: Path) -> Any:
    """Customers pay a fifth more for a promise."""
    plans = tmp_path / "plans"
    plans.mkdir()
    (plans / "gold.yaml").write_text(GOLD)
    (plans / "micro.yaml").write_text((PLANS / "micro-operations.yaml").read_text())
    chosen = settings.model_copy(update={"plans": plans, "default_plan": "gold-plan"})
    with TestClient(create_app(chosen), raise_server_exceptions=False) as client:
        yield client


def test_what_was_broken_is_credited(server: TestClient, feed: Any) -> None:
    """Three minutes: kept, too slow, too many errors. A third kept is below 70 %: a quarter of the fees comes back."""
    start = (int(time.time()) - 3600) // 60 * 60
    events = _execution(1, start + 5, 100) + _execution(2, start + 65, 400) + _execution(3, start + 66, 300)
    events += _execution(4, start + 125, 90, failed=True) + _execution(5, start + 126, 80)
    events += _execution(9, start + 6, 9_000, user="globex")
    feed(server, events)
    span = {"start": iso(start), "end": iso(start + 180)}
    level = server.get("/v1/service-levels", params={"user": "acme"} | span).json()["levels"][0]
    assert level["availability_percent"] == "33.333"
    assert [(one["measure"], one["measured"], one["promised"]) for one in level["breaches"]] == [
        ("latency_p50_ms", "300.000", "250"),
        ("error_percent", "50.000", "10"),
    ]
    draft = server.get("/v1/invoices", params={"user": "acme"} | span).json()
    invoice = server.post("/v1/invoices", json={"user": "acme"} | span).json()
    lines = {line["id"]: line for one in invoice["slices"] for line in one["lines"]}
    assert D(lines["requests"]["amount"]) == 5
    assert D(lines["requests:gold"]["amount"]) == 1
    assert D(lines["sla:gold"]["amount"]) == D("-1.50")
    assert "latency_p50_ms 300.000 instead of 250" in lines["sla:gold"]["formula"]
    assert [line["id"] for line in draft["lines"]] == list(lines), "the draft says before the end what the invoice will"
    assert (draft["total"], draft["usage"]) == (invoice["total"], "6.00")
    number = invoice["number"]
    assert server.get(f"/v1/invoices/issued/{number}/reproduction").json()["same"]


def test_an_execution_takes_what_happens_inside_it(server: TestClient, feed: Any) -> None:
    """The time of executions within one counts to the outermost."""
    start = (int(time.time()) - 3600) // 60 * 60
    inner = [row | {"parentExecutionID": 1} for row in _execution(2, start + 5, 200)]
    feed(server, _execution(1, start + 6, 100) + inner)
    span = {"start": iso(start), "end": iso(start + 60)}
    (level,) = server.get("/v1/service-levels", params={"user": "acme"} | span).json()["levels"]
    assert level["breaches"][0]["measured"] == "300.000"


def test_no_usage_breaks_no_promise(server: TestClient, feed: Any) -> None:
    """Availability is 100 where nothing was executed."""
    feed(server, _execution(1, time.time() - 5, 100))
    span = {"start": iso(time.time() - 7200), "end": iso(time.time() - 3600)}
    (level,) = server.get("/v1/service-levels", params={"user": "acme"} | span).json()["levels"]
    assert (level["availability_percent"], level["breaches"]) == ("100", [])
