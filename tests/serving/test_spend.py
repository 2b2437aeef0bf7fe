"""Spend to date: summing in the database changes no bill, whatever the plan."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from features.stored_windows import create
from features.windows import SCHEMA
from serving.accounts import spend
from serving.accounts.billing import Biller, HistoryReader
from serving.accounts.customer_terms import CustomerTerms
from serving.accounts.quotes import QuoteDesk
from serving.accounts.usage_records import usage_records
from serving.demand.demand_prices import PriceStore
from serving.plans.plan_catalogue import PlanCatalogue
from serving.plans.plan_files import load_plan, load_plans, parse_plan
from serving.pricing.rate import rate
from serving.pricing.usage import Period
from serving.pricing.versioned_plan import VersionedPlan
from serving.pricing.versions import rate_versions
from serving.storage import window_table
from serving.storage.history import History
from serving.storage.tables import Tables
from tests.serving.conftest import PLANS

HOUR_NS = 3_600_000_000_000
NOW_NS = time.time_ns() // HOUR_NS * HOUR_NS
PERIOD = Period(NOW_NS - 48 * HOUR_NS, NOW_NS)
PLAN_IDS = ("micro-operations", "per-request", "by-event")
BY_EVENT = """
plan: {id: by-event, version: 1, currency: USD, description: A share of each}
meters:
  disk_mb: {microOperationType: [DISK_WRITE], value: diskBytes / 1e6}
charges:
  - {id: share, description: A share, meter: disk_mb, model: percentage, rate_percent: "10", fixed_fee: "0.25"}
"""


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    """Two days of hours of one user."""
    rows = [
        {name: 0 for name in SCHEMA}  # noqa: C420 -- a fresh one each
        | {
            "window_start": PERIOD.start_ns + hour * HOUR_NS,
            "user_id": "ada",
            "operation_id": operation,
            "micro_operation_type": kind,
            "meter": "executions" if kind == "CPU_INSTRUCTION" else "",
            "events": 3,
            "cpu_cycles": 123_456_789 * hour,
            "disk_bytes": 1_234_567 * (hour % 5),
            "execution_time_ms": 0.1 * hour,
            "units": float(hour),
        }
        for hour in range(48)
        for operation in ("checkout", "search")
        for kind in ("CPU_INSTRUCTION", "DISK_WRITE")
    ]
    schema = SCHEMA | {"window_start": pl.Int64()}
    frame = pl.DataFrame(rows, schema=schema).with_columns(pl.col("window_start").cast(SCHEMA["window_start"]))
    connection = sqlite3.connect(tmp_path / "metercast.db")
    create(connection)
    window_table.add(connection, 3600, frame)
    connection.commit()
    connection.close()
    return History(tmp_path / "metercast.db")


@pytest.fixture
def biller(tmp_path: Path) -> Iterator[Biller]:
    """Bills under the shipped plans and one that prices each event."""
    (tmp_path / "by-event.yaml").write_text(BY_EVENT)
    tables = Tables(tmp_path / "metercast.db")
    catalogue = PlanCatalogue(tables)
    for plan in [*load_plans(PLANS).values(), load_plan(tmp_path / "by-event.yaml")]:
        catalogue.publish(plan)
    quotes = QuoteDesk(tables, b"secret" * 8)
    yield Biller(catalogue, PriceStore(tables), quotes, CustomerTerms(tables), (3600,), "by-event")
    tables.close()


def test_bill_is_that_of_the_single_windows(history: History, biller: Biller) -> None:
    """Every plan, one that prices each event among them, gives the same lines as rating window by window."""
    windows = history.windows(3600, PERIOD.start_ns, PERIOD.end_ns, "ada")
    for plan_id in PLAN_IDS:
        (plan,) = biller.versions(plan_id, "ada", PERIOD)
        expected = rate(plan, usage_records(windows, HOUR_NS), PERIOD)
        found = biller.bill(plan_id, "ada", PERIOD, HistoryReader(history, "ada"))
        assert found.lines == expected.lines, plan_id
        assert found.total > 0


@pytest.mark.parametrize("plan_id", PLAN_IDS)
def test_growth_ends_at_the_bill_and_never_falls(history: History, biller: Biller, plan_id: str) -> None:
    """The last point of the chart is the total, and spend only rises."""
    plan = VersionedPlan.over(biller.versions(plan_id, "ada", PERIOD), PERIOD)
    grown = spend.growth(biller, history, plan, "ada", PERIOD.end_ns, 10)
    assert list(grown.costs.totals) == sorted(grown.costs.totals)
    assert grown.costs.totals[-1] == biller.bill(plan_id, "ada", PERIOD, HistoryReader(history, "ada")).total


def test_growth_follows_a_change_of_plan(history: History, biller: Biller) -> None:
    """Where a version took effect in mid-period, each part grows under its own, up to the bill that holds both."""
    since = datetime.fromtimestamp((PERIOD.start_ns + 24 * HOUR_NS) / 1e9, UTC).isoformat()
    later = BY_EVENT.replace("version: 1", f"version: 2, effective_from: {since}").replace('"10"', '"50"')
    before = biller.bill("by-event", "ada", PERIOD, HistoryReader(history, "ada")).total
    biller.plans.publish(parse_plan(later))
    plan = VersionedPlan.over(biller.versions("by-event", "ada", PERIOD), PERIOD)
    grown = spend.growth(biller, history, plan, "ada", PERIOD.end_ns, 10)
    bill = biller.bill("by-event", "ada", PERIOD, HistoryReader(history, "ada")).total
    assert grown.costs.totals[-1] == bill > before


BY_HOUR = """
plan: {id: by-hour, version: 1, currency: USD}
meters: {runs: {meter: executions, value: units}}
charges:
  - {id: runs, meter: runs, model: graduated, tiers: [{up_to: 300, unit_price: "0.10"}, {up_to: null, unit_price: "1"}]}
  - {id: fee, model: flat, price: "10"}
"""


def test_spend_grows_evenly_through_a_change_of_plan(history: History, biller: Biller) -> None:
    """Every point of the chart is the bill of the period with what was used until then, before and after the change."""
    since = datetime.fromtimestamp((PERIOD.start_ns + 30 * HOUR_NS) / 1e9, UTC).isoformat()
    later = BY_HOUR.replace("version: 1", f"version: 2, effective_from: {since}").replace('"0.10"', '"0.07"')
    for plan in (BY_HOUR, later):
        biller.plans.publish(parse_plan(plan))
    plan = VersionedPlan.over(biller.versions("by-hour", "ada", PERIOD), PERIOD)
    grown = spend.growth(biller, history, plan, "ada", PERIOD.end_ns, 48)
    records = usage_records(history.windows(3600, PERIOD.start_ns, PERIOD.end_ns, "ada"), HOUR_NS)
    bills = [
        rate_versions(plan.plans, [one for one in records if one.start_ns < moment], PERIOD).total
        for moment in grown.moments_ns
    ]
    assert list(grown.costs.totals) == bills
    assert len(set(bills)) > 40
