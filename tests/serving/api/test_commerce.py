"""Prices, quotes, budgets, comparisons and plans over HTTP."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from metercast.client.webhook import verify

from serving.api.app import create_app
from tests.serving.conftest import PLANS, event, some_usage

D = Decimal
SECOND = 1_000_000_000
TIMED = """
plan: {{id: timed, version: {version}, currency: USD{since}}}
meters: {{gigacycles: {{microOperationType: [CPU_INSTRUCTION], value: cpuCycles / 1e9}}}}
charges:
  - {{id: cpu, meter: gigacycles, model: per_unit, unit_price: "{price}", modifiers: [always, spot]}}
schedules:
  always: {{windows: [{{days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "00:00", factor: "1.25"}}]}}
demand:
  spot: {{signal: spot, target: "1", elasticity: "1", floor: "0.5", cap: "2", half_life_s: 1, max_step: "0.5",
    interval_s: 1, lead_s: 1, stale_after_s: 600}}
"""


def timed(version: int = 1, price: str = "1", since: str = "") -> str:
    """A plan with a schedule that always holds and a demand rule that follows a posted signal."""
    return TIMED.format(version=version, price=price, since=since and f", effective_from: {since}")


def iso(at_s: float) -> str:
    """A moment for queries."""
    return datetime.fromtimestamp(at_s, UTC).isoformat()


@pytest.fixture
def server(settings: Any, tmp_path: Path) -> Any:
    """The application with the timed plan beside the shipped ones."""
    plans = tmp_path / "plans"
    plans.mkdir()
    for path in PLANS.glob("*.yaml"):
        (plans / path.name).write_text(path.read_text())
    (plans / "timed.yaml").write_text(timed())
    with TestClient(create_app(settings.model_copy(update={"plans": plans})), raise_server_exceptions=False) as client:
        yield client


def _ticks(server: TestClient, count: int) -> None:
    """Let the publisher publish as time goes by; the thread does the same a second apart."""
    commerce = server.app.state.platform.commerce  # type: ignore[attr-defined]
    for _ in range(count):
        commerce.publisher.tick(time.time_ns())
        time.sleep(1.02)


def test_prices_are_published_with_reasons(server: TestClient) -> None:
    """The factor now, what is ahead, the rules, the history, and schedules for the day to come."""
    assert server.put("/v1/prices/signals/spot", json={"value": "2"}).status_code == 204
    assert server.put("/v1/prices/signals/cpu", json={"value": "2"}).status_code == 422
    _ticks(server, 3)
    found = server.get("/v1/prices/current", params={"plan": "timed"}).json()
    assert D(found["charges"][0]["factor"]) >= D("1.25")
    (rule,) = found["demand"]
    assert D(rule["current"]["factor"]) > 1
    assert "smoothed load" in rule["current"]["reason"]
    assert rule["ahead"] or rule["history"]
    assert rule["rules"]["cap"] == "2"
    assert len(found["schedules"][0]["next_24_hours"]) == 24


def test_a_quote_holds_whatever_demand_does(server: TestClient, feed: Any) -> None:
    """Quoted at the calm, redeemed once, billed at the quote while prices double; beyond its quantity prices hold."""
    feed(server, some_usage(("acme",), 3))
    asked = {"user": "acme", "plan": "timed", "quantities": {"cpu": "10"}, "lifetime_s": 60}
    quote = server.post("/v1/quotes", json=asked).json()
    assert quote["promises"] == [{"charge": "cpu", "factor": "1.25", "quantity": "10"}]
    redeem = {"token": quote["token"]}
    forged = {"token": quote["token"][:-1] + ("0" if quote["token"][-1] != "0" else "1")}
    assert server.post("/v1/quotes/redeem", json=forged).status_code == 422
    assert server.post("/v1/quotes/redeem", json=redeem).status_code == 200
    assert server.post("/v1/quotes/redeem", json=redeem).status_code == 409
    server.put("/v1/prices/signals/spot", json={"value": "100"})
    _ticks(server, 4)
    at = time.time() - 0.5
    feed(server, [event("acme", "burst", "CPU_INSTRUCTION", at, cpuCycles=16_000_000_000)])
    end = time.monotonic() + 20
    params = {"user": "acme", "plan": "timed", "start": iso(at - 1), "end": iso(at + 60)}
    while not (lines := {x["id"]: D(x["amount"]) for x in server.get("/v1/invoices", params=params).json()["lines"]})[
        "cpu"
    ]:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert lines["cpu"] == D("16.00")
    assert lines["cpu:spot"] > 0
    factor = 1 + (lines["cpu:always"] + lines["cpu:spot"]) / 16
    saved = -lines[f"cpu:quote:{quote['id']}"]
    assert abs(saved - 10 * (factor - D("1.25"))) <= D("0.02")


def test_quotes_for_nothing_are_refused(server: TestClient, feed: Any) -> None:
    """Unknown charges, plans without changing prices, and other people's."""
    feed(server)
    ask = {"user": "acme", "plan": "timed", "quantities": {"disk": "1"}}
    assert "cpu" in server.post("/v1/quotes", json=ask).json()["detail"]
    assert server.post("/v1/quotes", json={"user": "acme", "plan": "per-request"}).status_code == 409
    assert server.post("/v1/quotes", json={"user": "nobody", "plan": "timed"}).status_code == 404


def test_a_customers_own_maximum_and_plan(server: TestClient, feed: Any) -> None:
    """The plan decides what spend means; the maximum factor shows as a line of its own."""
    feed(server, some_usage(("acme",), 5))
    before = server.get("/v1/spend", params={"user": "acme"}).json()
    assert before["plan"]["id"] == "micro-operations"
    assert server.put("/v1/customers/acme", json={"plan": "none"}).status_code == 404
    put = server.put("/v1/customers/acme", json={"plan": "timed", "maximum_factor": "1.1"})
    assert put.json()["plan"] == "timed"
    bill = server.get("/v1/invoices", params={"user": "acme"}).json()
    amounts = {line["id"]: D(line["amount"]) for line in bill["lines"]}
    assert bill["plan"]["id"] == "timed"
    assert abs(bill_total := D(bill["total"]) - amounts["cpu"] * D("1.1")) <= D("0.01"), (bill_total, amounts)
    assert amounts["cpu:bounds"] < 0


def test_a_budget_alerts_once_and_limits(server: TestClient, feed: Any) -> None:
    """Each threshold once, the limit says stop, and what is enforced is what the ledger bills."""
    feed(server, some_usage(("acme",), 20))
    spent = server.get("/v1/spend", params={"user": "acme"}).json()["spend"]
    half = str((D(spent) * D("1.5")).quantize(D("0.01")))
    put = {"amount": half, "alert_at_spent": ["0.5", "1"], "alert_at_projected": None, "limit": True}
    assert server.put("/v1/budgets/acme", json=put).status_code == 200
    commerce = server.app.state.platform.commerce  # type: ignore[attr-defined]
    for _ in range(3):
        commerce.watch.tick(time.time_ns())
    status = server.get("/v1/budgets/acme/status").json()
    assert status["spent"] == spent
    assert status["allowed"]
    assert {rule for rule, raised in status["alerts"].items() if raised} == {"spent:0.5"}
    put["amount"] = spent
    server.put("/v1/budgets/acme", json=put)
    commerce.watch.tick(time.time_ns())
    status = server.get("/v1/budgets/acme/status").json()
    assert not status["allowed"]
    assert status["remaining"] == "0"
    kinds = commerce.tables.rows("SELECT kind, count(*) FROM webhook_events GROUP BY kind ORDER BY kind")
    assert dict(kinds) == {"budget.limit_reached": 1, "budget.spent": 2}
    ledger = server.get("/v1/ledger", params={"user": "acme"}).json()["transactions"]
    owed = [D(one["amount"]) for entry in ledger for one in entry["postings"] if one["account"] == "unbilled:acme"]
    assert sum(owed) == D(spent)


def test_a_reached_budget_is_told_to_a_receiver(server: TestClient, feed: Any, receiver: Any) -> None:
    """From usage over the ledger to a signed request at a real server, and the log of deliveries."""
    hook = server.post("/v1/webhooks", json={"url": receiver.url, "events": ["budget.spent"]}).json()
    feed(server, some_usage(("acme",), 10))
    server.put("/v1/budgets/acme", json={"amount": "0.01", "alert_at_spent": ["1"], "alert_at_projected": None})
    server.app.state.platform.commerce.watch.tick(time.time_ns())  # type: ignore[attr-defined]
    end = time.monotonic() + 20
    while not receiver.seen:
        assert time.monotonic() < end
        time.sleep(0.05)
    headers, body = receiver.seen[0]
    assert verify(hook["secret"], body, headers["Metercast-Signature"], time.time())
    assert json.loads(body)["user"] == "acme"
    path = f"/v1/webhooks/{hook['id']}"
    while not (log := server.get(f"{path}/deliveries").json()["deliveries"]):
        assert time.monotonic() < end
    assert [(one["kind"], one["status"], one["attempt"]) for one in log] == [("budget.spent", 204, 1)]
    assert server.post(f"{path}/test").status_code == 202
    assert server.delete(path).status_code == 204
    assert server.get("/v1/webhooks").json() == {"webhooks": []}


def test_plans_are_compared_over_all_customers(server: TestClient, feed: Any) -> None:
    """Revenue, spread, customers by what they would pay more, break-even for one, and the guard."""
    feed(server)
    body = {"before": "micro-operations", "after": "per-request", "guard_percent": "5"}
    found = server.post("/v1/estimates/compare", json=body).json()
    bills = [
        server.get("/v1/spend", params={"user": user, "plan": "per-request"}).json()["spend"]
        for user in ("acme", "globex")
    ]
    assert D(found["revenue_after"]) == sum(map(D, bills))
    assert found["compared"] == 2
    assert {row["user"] for row in found["customers"]} == {"acme", "globex"}
    assert set(found["change_percent"]) == {"p5", "p50", "p95"}
    assert found["guard"]["exceeded"] == (D(found["customers"][0]["change_percent"]) > 5)
    one = server.post("/v1/estimates/compare", json=body | {"user": "acme"}).json()
    assert one["compared"] == 1
    if one["break_even"]:
        assert {one["break_even"]["cheaper_below"], one["break_even"]["cheaper_above"]} == {
            body["before"],
            body["after"],
        }


def test_a_version_is_published_behind_a_guard(server: TestClient, feed: Any) -> None:
    """Ten times the price is refused and nothing is published; five percent more is taken, and never changes."""
    feed(server, some_usage(("acme",), 5))
    server.put("/v1/customers/acme", json={"plan": "timed"})
    later = "2030-01-01T00:00:00Z"
    dear = {"yaml": timed(2, "10", later), "guard_percent": "20"}
    refused = server.post("/v1/plans", json=dear)
    assert refused.status_code == 409, refused.text
    assert refused.json()["comparison"]["guard"]["exceeded"]
    assert len(server.get("/v1/plans/timed/versions").json()["versions"]) == 1
    fair = {"yaml": timed(2, "1.05", later), "guard_percent": "20"}
    taken = server.post("/v1/plans", json=fair)
    assert taken.status_code == 201, taken.text
    assert 4 < D(taken.json()["comparison"]["change_percent"]["p50"]) < 6
    assert server.post("/v1/plans", json=fair).status_code == 201, "the same again changes nothing"
    assert server.post("/v1/plans", json={"yaml": timed(2, "7", later)}).status_code == 422
    assert [one["version"] for one in server.get("/v1/plans/timed/versions").json()["versions"]] == [1, 2]
    assert server.get("/v1/plans/timed").json()["version"] == 1, "not in force yet"


def _short(server: TestClient) -> dict[str, str]:
    now = time.time()
    return {"period_start": iso(now - 60), "period_end": iso(now + 120)}


def test_estimates_price_time_and_demand(server: TestClient, feed: Any) -> None:
    """A plan whose prices follow time and demand is estimated on paths of usage and of prices."""
    feed(server)
    body = {"user": "acme", "plans": ["timed"], "paths": 100, "budget": "0.01"} | _short(server)
    answer = server.post("/v1/estimates", json=body)
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["estimates"]
    spent = D(one["spend_so_far"])
    amounts = [D(value) for value in one["quantiles"].values()]
    assert amounts == sorted(amounts)
    assert amounts[0] >= spent > 0
    assert one["budget"]["probability_over"] == 1.0
    assert one["budget"]["passed"]["p50"] <= iso(time.time() + 120)


def test_estimates_tell_tiers_and_dates(server: TestClient, feed: Any) -> None:
    """The next bound of each tiered charge with its chance, and records for every micro-operation that add up."""
    feed(server)
    ends = _short(server)
    (one,) = server.post("/v1/estimates", json={"user": "acme", "plans": ["micro-operations"]} | ends).json()[
        "estimates"
    ]
    (tier,) = one["tiers"]
    assert tier["charge"] == "disk"
    assert 0 <= tier["probability"] <= 1
    assert (tier["passed"] is None) == (tier["probability"] == 0)
    records = server.get("/v1/estimates/projected", params={"user": "acme"} | ends).json()["estimates"]
    by = {(row["operationID"], row["microOperationType"]): D(row["estimatedCost"]) for row in records}
    parts = sum(cost for (operation, micro), cost in by.items() if operation and micro)
    assert abs(by["checkout", ""] - by["checkout", "CPU_INSTRUCTION"] - by["checkout", "DISK_WRITE"]) <= D("0.02")
    assert abs(by["", ""] - parts) <= D("0.3"), "minimums and fees belong to no operation"
    assert {"dataUntil", "model", "plan", "priceVersions", "resourceUsage", "timestamp"} <= set(records[0])
    late = server.get("/v1/estimates/projected", params={"user": "acme", "horizon": "day"} | ends)
    assert late.status_code == 422


def test_past_estimates_are_compared_with_the_bills(server: TestClient, feed: Any) -> None:
    """Estimated again at shares of past minutes, beside what those minutes cost; then published with estimates."""
    now = int(time.time()) - 5
    start = now // 60 * 60 - 180
    feed(
        server,
        [event("acme", "checkout", "CPU_INSTRUCTION", at + 0.1, cpuCycles=1_000_000_000) for at in range(start, now)],
    )
    body = {"user": "acme", "plan": "micro-operations", "period_s": 60, "periods": 2, "shares": [0.5, 0.75]}
    found = server.post("/v1/estimates/backtest", json=body).json()
    assert found["replayed"] == 4, found
    assert {(row["elapsed_percent"][0]) for row in found["errors"]} == {50, 75}
    for row in found["errors"]:
        assert row["mean_absolute_error_percent"] < 30
        assert 0 <= row["coverage_p10_p90"] <= 1
    (one,) = server.post("/v1/estimates", json={"user": "acme", "plans": ["micro-operations"]} | _short(server)).json()[
        "estimates"
    ]
    assert one["past_errors"]["user"] == found["errors"]
