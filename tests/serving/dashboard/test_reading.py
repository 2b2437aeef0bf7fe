"""What people read: round axes, periods by their names, numbers in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from serving.accounts.periods import month_ns
from serving.alerts.wording import quantity
from serving.dashboard.anomalies_page import compared, made_of
from serving.dashboard.axes import amount_label, round_ticks, time_ticks
from serving.dashboard.period_names import period_after, period_before, period_name
from serving.dashboard.reading import chance, share, span
from serving.pricing.usage import Period

SECOND = 1_000_000_000


def ns(text: str) -> int:
    """A moment in UTC as Unix nanoseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


@given(st.floats(1e-6, 1e9))
def test_ticks_are_round_few_and_reach_the_top(top: float) -> None:
    """From zero to beyond the greatest amount in at most ten even steps whose labels differ."""
    ticks = round_ticks(top)
    assert ticks[0] == 0
    assert ticks[-1] >= top * (1 - 1e-9)
    assert 2 <= len(ticks) <= 10
    labels = [amount_label(tick, ticks[1]) for tick in ticks]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("start", "end", "labels"),
    [
        ("2026-11-01", "2026-12-01", ["3 Nov", "8 Nov", "13 Nov", "18 Nov", "23 Nov", "28 Nov"]),
        ("2026-11-24T09:19:21", "2026-11-24T09:24:26", ["09:20", "09:21", "09:22", "09:23", "09:24"]),
        ("2026-11-24T22:00", "2026-11-25T04:00", ["23:00", "25 Nov", "01:00", "02:00", "03:00"]),
    ],
)
def test_times_are_marked_where_they_are_round(start: str, end: str, labels: list[str]) -> None:
    """Days in a month, minutes in a demo, hours over a night with the new day named."""
    assert [label for _, label in time_ticks(ns(start), ns(end))] == labels


@pytest.mark.parametrize(
    ("start", "end", "name", "before"),
    [
        ("2026-03-01", "2026-04-01", "March 2026", "February 2026"),
        ("2026-01-01", "2026-02-01", "January 2026", "December 2025"),
        ("2026-11-24", "2026-11-25", "24 Nov 2026", "23 Nov 2026"),
        ("2026-11-08", "2026-11-15", "8 Nov 2026 to 14 Nov 2026", "1 Nov 2026 to 7 Nov 2026"),
        (
            *("2026-11-24T09:19:21", "2026-11-24T09:24:21"),
            *("24 Nov 2026, 09:19:21 to 09:24:21 UTC", "24 Nov 2026, 09:14:21 to 09:19:21 UTC"),
        ),
    ],
)
def test_periods_have_names_and_neighbours(start: str, end: str, name: str, before: str) -> None:
    """A month is followed and preceded by months, another span by spans as long."""
    period = Period(ns(start), ns(end))
    assert period_name(period) == name
    assert period_name(period_before(period)) == before
    assert period_after(period_before(period)) == period


@given(st.integers(0, 4_000_000_000))
def test_months_lead_back_to_themselves(at_s: int) -> None:
    """The month after the month before is the month, whatever their lengths."""
    month = Period(*month_ns(at_s * SECOND))
    assert period_after(period_before(month)) == month == period_before(period_after(month))


def test_numbers_in_words() -> None:
    """Nothing is told from nearly nothing; a chance counted over paths is never certain; lengths have a unit."""
    assert (share(0.0), share(0.001), share(0.5), share(1.0)) == ("0%", "under 1%", "50%", "100%")
    assert (chance(0.0), chance(1.0)) == ("under 1%", "over 99%")
    assert (span(1), span(60), span(7_200), span(90)) == ("1 second", "1 minute", "2 hours", "90 seconds")
    assert (quantity(20_820, "B"), quantity(3.017, "ms"), quantity(0.0, "USD")) == ("20.8 kB", "3.02 ms", "0 USD")


def test_an_anomaly_is_told_with_units_and_causes_by_kind() -> None:
    """Customers are shares of all customers, micro-operations of all micro-operations."""
    row: dict[str, Any] = {
        "resource": "network_bytes",
        "currency": "USD",
        "observed": 20_820.0,
        "expected": {"low": 13_000.0, "middle": 13_210.0, "high": 13_400.0},
        "causes": [
            {"what": "user", "name": "ada", "share": 0.3},
            {"what": "micro-operation", "name": "WAIT", "share": 0.4},
            {"what": "user", "name": "bo", "share": 0.1},
        ],
    }
    assert compared(row) == "20.8 kB a run; 13 kB to 13.4 kB were expected"
    assert made_of(row) == [("customers", "ada 75%, bo 25%"), ("micro-operations", "WAIT 100%")]


def test_all_pages_tell_one_total(client: TestClient, feed: Any) -> None:
    """Spend, operations and the draft invoice agree to the cent, on the pages and in the API."""
    feed(client)
    now_ns = client.app.state.platform.worker.closed_until_ns(1)  # type: ignore[attr-defined]
    ends = [datetime.fromtimestamp(now_ns / SECOND + more, UTC).isoformat() for more in (-3_600, 3_600)]
    asked = {"user": "acme", "start": ends[0], "end": ends[1]}
    spend = client.get("/", params=asked | {"format": "json"}).json()["spend_so_far"]
    operations = client.get("/operations", params=asked | {"format": "json"}).json()
    assert spend == operations["total"] == client.get("/v1/spend", params=asked).json()["spend"]
    assert spend == client.get("/v1/invoices", params=asked).json()["total"]
    assert sum(float(row["amount"]) for row in operations["operations"]) == pytest.approx(float(spend))
