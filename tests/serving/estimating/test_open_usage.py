"""What was used since the last window closed: in the estimate at once, in place of what was expected of the window."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from serving.api.app import create_app
from serving.estimating.factor_paths import PathFactors
from serving.estimating.forecasting import Model
from serving.estimating.futures import Request, Span
from serving.estimating.open_usage import NEAR_WINDOWS, OpenUsage, passed_shares
from serving.estimating.priced_usage import PricedUsage, UnpricedUsage
from serving.estimating.sampled_usage import SampledUsage
from serving.plans.plan_files import parse_plan
from serving.pricing.paths import UsageColumn
from tests.serving.conftest import event, some_usage

SECOND = 1_000_000_000
CPU, DISK = UsageColumn("a", "CPU_INSTRUCTION", "cpu_cycles"), UsageColumn("b", "DISK_WRITE", "disk_bytes")
PRICED = """
plan: {id: p, version: 1, currency: USD}
meters:
  cycles: {microOperationType: [CPU_INSTRUCTION], value: cpuCycles / 1e9}
  tokens: {meter: tokens, value: units, where: {model: large}}
  runs: {meter: executions, value: units}
charges:
  - {id: cpu, meter: cycles, model: per_unit, unit_price: "1"}
  - {id: tokens, meter: tokens, model: per_unit, unit_price: "1"}
  - {id: runs, meter: runs, model: percentage, rate_percent: "10", fixed_fee: "0.25"}
"""


@pytest.fixture
def minutes(settings: Any) -> Iterator[TestClient]:
    """A platform whose estimates of half an hour look at minutes."""
    with TestClient(create_app(settings.model_copy(update={"windows_s": (1, 60)}))) as client:
        yield client


def _period() -> dict[str, str]:
    now_s = int(time.time()) // 60 * 60
    ends = {"period_start": now_s - 1_800, "period_end": now_s + 1_800}
    return {name: datetime.fromtimestamp(at, UTC).isoformat() for name, at in ends.items()}


def test_an_event_is_in_the_estimate_before_its_window_closes(minutes: TestClient, feed: Any) -> None:
    """Spend so far rises by the price of the event at once, and is the spend that the bill itself tells."""
    feed(minutes, some_usage(("acme",), seconds=900))
    body = {"user": "acme", "plans": ["micro-operations"], "paths": 100} | _period()
    before = minutes.post("/v1/estimates", json=body).json()["estimates"][0]
    feed(minutes, [event("acme", "render", "CPU_INSTRUCTION", time.time(), cpuCycles=100_000_000_000)])
    after = minutes.post("/v1/estimates", json=body).json()["estimates"][0]
    assert Decimal(after["spend_so_far"]) - Decimal(before["spend_so_far"]) == Decimal("30.00")
    assert Decimal(after["expected"]) > Decimal(before["expected"]) + 25
    assert "render" in {row["operationID"] for row in after["operations"]}
    period = {"start": body["period_start"], "end": body["period_end"]}
    spent = minutes.get("/v1/spend", params={"user": "acme", "plan": "micro-operations"} | period).json()
    assert spent["spend"] == after["spend_so_far"]


def test_projections_also_tell_usage_that_nobody_prices(minutes: TestClient, feed: Any) -> None:
    """No plan has a price for memory, yet the record of an estimate says how much there will be."""
    events = [event("acme", "load", "MEMORY_READ", one["timestamp"], memoryBytes=1_000) for one in some_usage(("x",))]
    feed(minutes, some_usage(("acme",), seconds=900) + events)
    records = minutes.get("/v1/estimates/projected", params={"user": "acme"} | _period()).json()["estimates"]
    (whole,) = (one for one in records if (one["operationID"], one["microOperationType"]) == ("", ""))
    assert whole["resourceUsage"]["memoryBytes"] >= 1_000 * len(events)
    assert whole["resourceUsage"]["cpuCycles"] > 0


class _Nothing:
    """Sources of a customer without plans."""


def test_open_windows_take_the_place_of_what_was_expected_of_them() -> None:
    """Used 10 with half a window passed leaves half of a path's window; rounding never takes back what was used."""
    request = Request("acme", 0, 10 * SECOND, 0, 1)
    span = Span(0, SECOND, 4)
    factors = PathFactors(_Nothing(), request, [], [CPU], {}, span)  # type: ignore[arg-type]
    sampled = SampledUsage(Model(None, {}), span, [CPU], np.array([100.0]), factors)  # type: ignore[arg-type]
    sampled.keep(np.array([[[8.0, 2.0, 2.0, 2.0]], [[0.0, 4.0, 0.0, 0.0]]]), [0])
    unopened = sampled.futures(OpenUsage())
    assert unopened.end.usage[:, 0].tolist() == [114.0, 104.0]
    passed = (0.5,) + (0.0,) * (NEAR_WINDOWS - 1)
    opened = sampled.futures(OpenUsage(((CPU, (10.0, 0, 0, 0, 0, 0)), (DISK, (7.25, 0, 0, 0, 0, 0))), passed, SECOND))
    assert opened.columns == (CPU, DISK)
    assert opened.now.usage.tolist() == [[110.0, 7.25]]
    assert opened.end.usage.tolist() == [[100 + 10 + 4 + 6, 7.25], [100 + 10 + 0 + 4, 7.25]]
    assert (opened.data_until_ns, opened.spent_until_ns) == (SECOND, SECOND)


def test_what_has_passed_of_open_windows_is_told_in_parts() -> None:
    """Windows before the watermark have passed, those after it have not, and small steps of it change nothing."""
    at_ns = 60 * SECOND + 30 * SECOND
    assert passed_shares(60, 0, at_ns) == (1.0, 0.5, 0.0, 0.0, 0.0, 0.0)
    assert passed_shares(60, 0, at_ns + SECOND // 2) == passed_shares(60, 0, at_ns)
    assert passed_shares(60, 0, 0) == (0.0,) * NEAR_WINDOWS


@pytest.mark.parametrize(
    ("micro", "resource", "is_priced"),
    [
        ("CPU_INSTRUCTION", "cpu_cycles", True),
        ("CPU_INSTRUCTION", "disk_bytes", False),
        ("DISK_WRITE", "cpu_cycles", False),
        ("CUSTOM", "tokens{model=large}", True),
        ("CUSTOM", "tokens{model=small}", False),
        ("CUSTOM", "executions", True),
        ("CUSTOM", "events", True),  # a charge by event needs to know how many there were
    ],
)
def test_priced_is_what_some_charge_counts(micro: str, resource: str, is_priced: bool) -> None:
    """Everything else stays out of a bill's paths, and is what the other half looks at."""
    column, priced = UsageColumn("a", micro, resource), PricedUsage([parse_plan(PRICED)])
    assert priced.column(column) is is_priced
    assert UnpricedUsage(priced).column(column) is not is_priced
    assert priced.resource(resource) or not is_priced
