"""What each resource answers, and how errors look."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient


def test_usage_comes_in_pages_that_join_to_the_whole(client: TestClient, feed: Any) -> None:
    """Following `next` gives every window once and in order."""
    feed(client)
    whole = client.get("/v1/usage", params={"limit": 10_000}).json()["windows"]
    rows: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = client.get("/v1/usage", params={"limit": 17} | ({"cursor": cursor} if cursor else {})).json()
        rows += page["windows"]
        cursor = page["next"]
        if cursor is None:
            break
    assert rows == whole
    assert len(whole) == 30 * 2 * 4


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("text/csv", pl.read_csv),
        ("application/vnd.apache.parquet", pl.read_parquet),
        ("application/vnd.apache.arrow.stream", pl.read_ipc_stream),
    ],
)
def test_usage_comes_as_the_caller_likes_it(client: TestClient, feed: Any, kind: str, read: Any) -> None:
    """CSV, Parquet and Arrow hold the rows that JSON holds."""
    feed(client)
    answer = client.get("/v1/usage", params={"user": "acme"}, headers={"Accept": kind})
    frame = read(io.BytesIO(answer.content))
    expected = client.get("/v1/usage", params={"user": "acme"}).json()["windows"]
    assert answer.headers["content-type"].startswith(kind)
    assert frame["cpu_cycles"].to_list() == [row["cpu_cycles"] for row in expected]


def test_invoice_lines_add_up_to_the_spend(client: TestClient, feed: Any) -> None:
    """The total of the invoice is the sum of its lines and of the spend's parts."""
    feed(client)
    bill = client.get("/v1/invoices", params={"user": "acme"}).json()
    spent = client.get("/v1/spend", params={"user": "acme"}).json()
    assert bill["total"] == spent["spend"]
    assert sum(Decimal(line["amount"]) for line in bill["lines"]) == Decimal(bill["total"]) > 0
    assert sum(Decimal(part["amount"]) for part in spent["parts"]) == Decimal(spent["spend"])
    assert bill["draft"] is True


def test_estimate_compares_plans_and_is_kept_until_something_changes(client: TestClient, feed: Any) -> None:
    """The same question is answered from memory; its quantiles rise with their level."""
    feed(client)
    usage = client.get("/v1/usage", params={"limit": 1}).json()["windows"][0]["window_start"]
    body = {
        "user": "acme",
        "plans": ["micro-operations", "per-request"],
        "period_start": usage,
        "period_end": (datetime.fromisoformat(usage) + timedelta(seconds=120)).isoformat(),
        "paths": 100,
    }
    service = client.app.state.platform.estimates  # type: ignore[attr-defined]
    first = client.post("/v1/estimates", json=body)
    assert first.status_code == 200, first.text
    for _ in range(5):  # a window may close between two of them
        first, second = (client.post("/v1/estimates", json=body) for _ in range(2))
        if service.hits:
            break
    assert service.hits >= 1
    assert first.json() == second.json()
    amounts = [Decimal(one) for one in first.json()["estimates"][0]["quantiles"].values()]
    assert amounts == sorted(amounts)
    assert 0 <= first.json()["comparison"]["probability"] <= 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/usage?user=nobody", None, 404),
        ("GET", "/v1/usage?start=yesterday", None, 422),
        ("GET", "/v1/usage?window_s=7", None, 422),
        ("GET", "/v1/usage?cursor=!!", None, 422),
        ("GET", "/v1/plans/none", None, 404),
        ("GET", "/v1/spend?user=acme&plan=none", None, 404),
        ("GET", "/v1/spend", None, 422),
        ("GET", "/v1/nothing", None, 404),
        ("PUT", "/v1/usage", None, 405),
        ("POST", "/v1/estimates", {"user": "acme", "plans": ["none"]}, 404),
        ("POST", "/v1/estimates", {"user": "acme", "paths": 1}, 422),
        ("POST", "/v1/estimates", {"nobody": 1}, 422),
        ("POST", "/v1/anomalies/none/feedback", {"verdict": "useful"}, 404),
        ("DELETE", "/v1/keys/none", None, 404),
    ],
)
def test_every_error_is_a_problem(
    client: TestClient, feed: Any, method: str, path: str, body: Any, status: int
) -> None:
    """Problem details (RFC 9457) with the status, a title and a detail that says something."""
    feed(client)
    answer = client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert len(answer.json()["detail"]) > 5


def test_what_did_not_change_is_not_sent_again(client: TestClient, feed: Any) -> None:
    """A GET with the ETag of the last answer is answered 304 without a body."""
    feed(client)
    first = client.get("/v1/operations")
    again = client.get("/v1/operations", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_answers_carry_ids_limits_and_a_strict_policy(client: TestClient) -> None:
    """Every answer has a request id (the caller's own when given), what is left of the limit, and security headers."""
    answer = client.get("/v1/plans", headers={"X-Request-ID": "my-7"})
    assert answer.headers["x-request-id"] == "my-7"
    assert int(answer.headers["ratelimit-remaining"]) < int(answer.headers["ratelimit-limit"])
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_metrics_count_events_and_requests(client: TestClient, feed: Any) -> None:
    """/metrics names the events that were accepted and the routes that were asked."""
    feed(client)
    text = client.get("/metrics").text
    assert "metercast_events_accepted_total 240" in text
    assert 'metercast_http_requests_total{method="POST",route="/v1/events",status="202"} 1' in text


def test_planned_events_are_kept_shown_and_taken_out(client: TestClient) -> None:
    """The calendar answers with what was entered; what makes no sense is refused with the reason."""
    body = {"user": "acme", "start": "2026-01-31T20:00:00Z", "end": "2026-02-01T04:00:00Z", "repeats": "monthly"}
    made = client.post("/v1/planned-events", json=body)
    assert made.status_code == 201
    assert [event["id"] for event in client.get("/v1/planned-events").json()["planned_events"]] == [made.json()["id"]]
    wrong = client.post("/v1/planned-events", json=body | {"end": "2026-01-01T00:00:00Z"})
    assert wrong.status_code == 422
    assert "later end" in wrong.json()["detail"]
    assert client.delete(f"/v1/planned-events/{made.json()['id']}").status_code == 204
    assert client.get("/v1/planned-events").json()["planned_events"] == []
    assert client.delete(f"/v1/planned-events/{made.json()['id']}").status_code == 404
