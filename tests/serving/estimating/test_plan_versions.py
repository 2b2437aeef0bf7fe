"""A plan that changes within the period: the estimate is the invoice to come, and all its figures tell one story."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import save
from models.forecasters.seasonal_naive import SeasonalNaive
from serving.accounts.billing import HistoryReader
from serving.api.app import create_app
from serving.estimating.estimates import compare, estimate, fan
from serving.estimating.factor_paths import PathFactors
from serving.estimating.forecasting import Model
from serving.estimating.futures import Futures, Request, Span
from serving.estimating.open_usage import NEAR_WINDOWS, OpenUsage
from serving.estimating.passing import next_tiers
from serving.estimating.sampled_usage import SampledUsage
from serving.plans.plan_files import parse_plan
from serving.pricing.paths import UsageColumn
from serving.pricing.plan import Plan
from serving.pricing.usage import Period, UsageRecord
from serving.pricing.versioned_plan import VersionedPlan
from serving.pricing.versions import rate_versions
from tests.serving.conftest import event

D = Decimal
SECOND = 10**9
WINDOW_S, WINDOWS = 10, 30
PERIOD = Period(0, WINDOW_S * WINDOWS * SECOND)
COLUMNS = (UsageColumn("a", "CUSTOM", "m"), UsageColumn("b", "CUSTOM", "m"))
CHARGES = (
    '[{id: use, meter: m, model: per_unit, unit_price: "0.0137"}, {id: fee, model: flat, price: "9.99", due: advance}]',
    '[{id: use, meter: m, model: graduated, tiers: [{up_to: 700, unit_price: "0.10"}, {up_to: null, unit_price: '
    '"0.03"}]}, {id: fee, model: flat, price: "20"}]',
    '[{id: use, meter: m, model: volume, tiers: [{up_to: 900, unit_price: "0.10"}, {up_to: null, unit_price: "0.08"}],'
    ' minimum: {amount: "30"}}]',
    '[{id: use, meter: m, model: per_unit, unit_price: "0.05", maximum: {amount: "40"}, '
    'discounts: [{id: d, percent_off: "10"}]}]',
)


def _iso(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / SECOND, UTC).isoformat()


def _plan(version: int, since_ns: int, charges: str) -> Plan:
    return parse_plan(
        f'plan: {{id: p, version: {version}, currency: USD, effective_from: "{_iso(since_ns)}"}}\n'
        f"meters: {{m: {{value: units, meter: m}}}}\ncharges: {charges}\n"
    )


@st.composite
def _versioned(draw: st.DrawFn) -> VersionedPlan:
    """Versions that take effect at whole seconds anywhere in the period, also inside a forecast window."""
    cuts = sorted(draw(st.sets(st.integers(1, WINDOW_S * WINDOWS - 1), min_size=1, max_size=3)))
    versions = [_plan(n, cut * SECOND, draw(st.sampled_from(CHARGES))) for n, cut in enumerate([0, *cuts], start=1)]
    return VersionedPlan.over(versions, PERIOD)


def _records(until_s: int, rates: tuple[int, int]) -> list[UsageRecord]:
    return [
        UsageRecord(at * SECOND, (at + 1) * SECOND, "u", column.operation_id, "CUSTOM", "m", {"units": D(rate)})
        for at in range(until_s)
        for column, rate in zip(COLUMNS, rates, strict=True)
    ]


def _futures(plan: VersionedPlan, closed: int, rates: tuple[int, int], opened: OpenUsage | None = None) -> Futures:
    """Usage that is known for certain: so many units every second, of which some windows have closed."""
    per_window = np.array(rates, float) * WINDOW_S
    span = Span(closed * WINDOW_S * SECOND, WINDOW_S * SECOND, WINDOWS - closed)
    so_far = per_window * closed
    cuts = {cut: np.array(rates, float) * min(cut // SECOND, closed * WINDOW_S) for cut in plan.cuts_ns}
    request = Request("u", PERIOD.start_ns, PERIOD.end_ns, span.until_ns, WINDOW_S)
    factors = PathFactors(None, request, [plan], COLUMNS, cuts | {PERIOD.end_ns: so_far}, span)  # type: ignore[arg-type]
    sampled = SampledUsage(Model(None, {}), span, COLUMNS, so_far, factors, cuts)  # type: ignore[arg-type]
    sampled.keep(np.tile(per_window[None, :, None], (10, 1, WINDOWS - closed)), [0, 1])
    return sampled.futures(opened or OpenUsage())


@settings(max_examples=40, deadline=None)
@given(_versioned(), st.integers(1, WINDOWS - 1), st.tuples(st.integers(0, 9), st.integers(1, 9)))
def test_known_usage_is_estimated_as_it_is_invoiced(plan: VersionedPlan, closed: int, rates: tuple[int, int]) -> None:
    """Now, on the way and at the end: the bill of the period with the usage up to then, wherever versions change."""
    futures = _futures(plan, closed, rates)
    for point in (futures.now, *futures.way, futures.end):
        bill = rate_versions(plan.plans, _records(point.at_ns // SECOND, rates), PERIOD)
        costs = point.costs(plan, futures.columns)
        assert set(costs.totals) == {bill.total}
        assert [sum(one[0] for one in costs.parts.values())] == [bill.total]
    spread = [levels for _, levels in fan(plan, futures)]
    assert all(set(levels.values()) == {levels["0.5"]} for levels in spread)


@settings(max_examples=20, deadline=None)
@given(_versioned(), st.integers(1, WINDOWS - 2), st.integers(1, 9))
def test_usage_of_open_windows_falls_to_the_versions_by_time(plan: VersionedPlan, closed: int, rate: int) -> None:
    """Half a window that came as expected changes no bill: used so far, and the other half to come."""
    rates = (rate, rate)
    half = rate * WINDOW_S / 2
    used = tuple((column, (half, *(0.0,) * (NEAR_WINDOWS - 1))) for column in COLUMNS)
    opened = OpenUsage(used, (0.5,) + (0.0,) * (NEAR_WINDOWS - 1), (closed * WINDOW_S + 5) * SECOND)
    end, expected = (
        one.end.costs(plan, one.columns).totals
        for one in (_futures(plan, closed, rates, opened), _futures(plan, closed, rates))
    )
    assert end == expected


def test_what_was_used_before_a_change_stays_with_the_version_that_held() -> None:
    """Prices change after 2 of the 5 seconds that have passed of an open window: so much of its burst is at the old."""
    plan = VersionedPlan.over([_plan(1, 0, CHARGES[0]), _plan(2, 22 * SECOND, CHARGES[1])], PERIOD)
    used = ((COLUMNS[0], (40.0, *(0.0,) * (NEAR_WINDOWS - 1))),)
    futures = _futures(plan, 2, (1, 1), OpenUsage(used, (0.5,) + (0.0,) * (NEAR_WINDOWS - 1), 25 * SECOND))
    for point in (futures.now, *futures.way, futures.end):
        assert set(point.by_version(plan)[0][:, 0]) == {20.0 + 16.0}
    assert futures.end.by_version(plan)[1][0].tolist() == [24.0 + 5.0 + 270.0, 5.0 + 270.0]


def test_shares_of_paths_add_up() -> None:
    """What the versions price is what is used on every path, of uneven usage and inside a window as well."""
    plan = VersionedPlan.over([_plan(1, 0, CHARGES[0]), _plan(2, 47 * SECOND, CHARGES[1])], PERIOD)
    span = Span(20 * SECOND, WINDOW_S * SECOND, WINDOWS - 2)
    so_far, cuts = np.array([3.0, 4.5]), {47 * SECOND: np.array([3.0, 4.5])}
    request = Request("u", PERIOD.start_ns, PERIOD.end_ns, span.until_ns, WINDOW_S)
    factors = PathFactors(None, request, [plan], COLUMNS, cuts | {PERIOD.end_ns: so_far}, span)  # type: ignore[arg-type]
    sampled = SampledUsage(Model(None, {}), span, COLUMNS, so_far, factors, cuts)  # type: ignore[arg-type]
    ahead = np.random.default_rng(1).gamma(0.5, 20.0, (50, 2, WINDOWS - 2))
    sampled.keep(ahead, [0, 1])
    futures = sampled.futures(OpenUsage(((COLUMNS[0], (7.0,) + (0.0,) * (NEAR_WINDOWS - 1)),)))
    for point in (*futures.way, futures.end):
        first, second = point.by_version(plan)
        np.testing.assert_allclose(first + second, point.usage)
    before_cut = 3 + 7 + ahead[:, 0, :2].sum(axis=1) + 0.7 * ahead[:, 0, 2]
    np.testing.assert_allclose(futures.end.by_version(plan)[0][:, 0], np.rint(before_cut))


def test_tiers_are_those_of_the_version_in_force() -> None:
    """The second version counts anew: what the first priced brings nobody nearer to its bound."""
    plan = VersionedPlan.over([_plan(1, 0, CHARGES[1]), _plan(2, 100 * SECOND, CHARGES[2])], PERIOD)
    before, after = (next_tiers(plan, _futures(plan, closed, (2, 2))) for closed in (5, 20))
    assert before == [
        {"charge": "use", "quantity_so_far": 200.0, "next_bound": 700.0, "probability": 0.0, "passed": None}
    ]
    (row,) = after
    assert (row["quantity_so_far"], row["next_bound"], row["probability"]) == (400.0, 900.0, 0.0)
    (row,) = next_tiers(plan, _futures(plan, 20, (3, 2)))
    assert (row["quantity_so_far"], row["next_bound"], row["probability"]) == (500.0, 900.0, 1.0)
    assert row["passed"]["p50"] == "1970-01-01T00:04:40Z"


def test_plans_are_compared_by_the_bills_of_all_their_versions() -> None:
    """A plan that is dearer now is the cheaper one over the period, as it gets cheaper soon."""
    steady = VersionedPlan.over([_plan(1, 0, CHARGES[3])], PERIOD)
    falls = VersionedPlan.over(
        [
            _plan(1, 0, '[{id: use, meter: m, model: per_unit, unit_price: "0.10"}]'),
            _plan(2, 60 * SECOND, '[{id: use, meter: m, model: per_unit, unit_price: "0.001"}]'),
        ],
        PERIOD,
    )
    futures = _futures(falls, 3, (1, 1))
    found = compare([steady, falls], [futures.end.costs(plan, futures.columns) for plan in (steady, falls)])
    assert found["expected"] == {"p": "12.48"}
    assert D(found["saving"]) == D("27.00") - D("12.48")


CHANGING = (
    """
meters: {cycles: {microOperationType: [CPU_INSTRUCTION], value: cpuCycles / 1e9}}
charges:
  - {id: cpu, meter: cycles, model: per_unit, unit_price: "0.37"}
  - {id: fee, model: flat, price: "9.99", due: advance}
""",
    """
meters: {cycles: {microOperationType: [CPU_INSTRUCTION], value: cpuCycles / 1e9}}
schedules: {always: {timezone: Europe/Berlin, windows: [{days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00",
  to: "00:00", factor: "1.25"}]}}
charges:
  - {id: cpu, meter: cycles, model: graduated, modifiers: [always],
    tiers: [{up_to: 9, unit_price: "0.50"}, {up_to: null, unit_price: "0.20"}]}
""",
    """
meters: {disk: {microOperationType: [DISK_WRITE], value: diskBytes / 1e6}}
charges:
  - {id: disk, meter: disk, model: volume, tiers: [{up_to: 9, unit_price: "0.50"}, {up_to: null, unit_price: "0.20"}],
    minimum: {amount: "3.50"}}
""",
)


@pytest.fixture
def steady(settings: Any, feed: Any) -> Iterator[tuple[TestClient, int]]:
    """A platform with twenty minutes of the same usage every second, and the second when they began.

    Its champion repeats the last season, so that what is to come is known for certain.
    """
    bundle = {"version": "1", "name": "seasonal-naive", "window_s": 10, "resources": ["cpu_cycles", "executions"]}
    save(SeasonalNaive(), settings.data / "models" / "champion", bundle)
    with TestClient(create_app(settings)) as client:
        start_s = int(time.time()) // 10 * 10 - 1_210
        events = [
            one
            for at in range(start_s, start_s + 1_200)
            for one in (
                event("acme", "render", "CPU_INSTRUCTION", at + 0.1, cpuCycles=50_000_000),
                event("acme", "render", "DISK_WRITE", at + 0.2, diskBytes=200_000),
            )
        ]
        feed(client, events)
        yield client, start_s


def _publish(client: TestClient, *since_s: int) -> None:
    for version, (at_s, body) in enumerate(zip(since_s, CHANGING, strict=True), start=1):
        head = f'plan: {{id: changing, version: {version}, currency: USD, effective_from: "{_iso(at_s * SECOND)}"}}'
        client.app.state.platform.plans.publish(parse_plan(head + body))  # type: ignore[attr-defined]


def test_an_estimate_of_steady_usage_is_the_bill_that_comes(steady: tuple[TestClient, int]) -> None:
    """Seen in mid-period, with one change of prices behind and one ahead, inside a forecast window, to the cent."""
    client, start_s = steady
    platform = client.app.state.platform  # type: ignore[attr-defined]
    _publish(client, start_s - 60, start_s + 305, start_s + 933)
    period = Period(start_s * SECOND, (start_s + 1_200) * SECOND)
    request = Request("acme", period.start_ns, period.end_ns, (start_s + 600) * SECOND, 10, 50, D(5))
    document = estimate(platform, request, ["changing", "micro-operations"])
    one = document["estimates"][0]
    bill = platform.commerce.biller.bill("changing", "acme", period, HistoryReader(platform.history, "acme"))
    assert one["expected"] == one["quantiles"]["0.1"] == one["quantiles"]["0.9"] == str(bill.total)
    assert one["plan"] == {"id": "changing", "version": 2}
    assert [(row["version"], row["from"], row["until"]) for row in one["versions"]] == [
        (1, _z(start_s), _z(start_s + 305)),
        (2, _z(start_s + 305), _z(start_s + 933)),
        (3, _z(start_s + 933), _z(start_s + 1_200)),
    ]
    reader = HistoryReader(platform.history, "acme")
    half = platform.commerce.biller.under(
        platform.versions("changing", "acme", period), "acme", period, reader, until_ns=request.now_ns
    )
    assert one["spend_so_far"] == str(half.total)
    assert sum(D(row["expected"]) for row in one["operations"]) == bill.total
    parts = {row["operationID"]: D(row["expected"]) for row in one["operations"]}
    assert parts["render"] == sum(amount for part, amount in bill.parts().items() if part[0] == "render")
    assert one["budget"]["probability_over"] == float(bill.total > 5)
    assert document["comparison"]["expected"]["changing"] == str(bill.total)


def test_past_estimates_are_scored_by_bills_of_all_versions(steady: tuple[TestClient, int]) -> None:
    """Replayed estimates of steady usage are off by nothing, though prices changed in mid-period."""
    client, _ = steady
    closed_s = client.app.state.platform.worker.closed_until_ns(1) // SECOND  # type: ignore[attr-defined]
    end_s = closed_s // 600 * 600
    _publish(client, end_s - 3_600, end_s - 400, end_s - 100)
    body = {"user": "acme", "plan": "changing", "period_s": 600, "periods": 1, "shares": [0.5, 0.75]}
    found = client.post("/v1/estimates/backtest", json=body).json()
    assert found["replayed"] == 2
    assert [row["mean_absolute_error_percent"] for row in found["errors"]] == [0.0, 0.0]
    assert all(row["p10"] == row["p90"] == row["bill"] for row in found["estimates"])


def test_the_pages_say_when_prices_change(steady: tuple[TestClient, int]) -> None:
    """Spend and Plans name the version and the date, and their figures are those of the bill and the estimate."""
    client, start_s = steady
    _publish(client, start_s - 60, start_s + 600, start_s + 2_000)
    ends = {"start": _iso(start_s * SECOND), "end": _iso((start_s + 2_400) * SECOND)}
    asked = {"user": "acme", "plan": "changing"} | ends
    page = client.get("/", params=asked)
    assert "version 2 took effect" in page.text
    assert "version 3 takes effect" in page.text
    values = client.get("/", params=asked | {"format": "json"}).json()
    assert [row["version"] for row in values["price_changes"]] == [2, 3]
    one = values["estimate"]["estimates"][0]
    spent = client.get("/v1/spend", params=asked).json()["spend"]
    assert one["spend_so_far"] == values["spend_so_far"] == values["past"][-1]["amount"] == spent
    amounts = [D(row["amount"]) for row in values["past"]] + [D(row["quantiles"]["0.5"]) for row in values["fan"]]
    assert all(earlier <= later for earlier, later in pairwise([*amounts, D(one["quantiles"]["0.5"])]))
    plans = client.get("/plans", params=asked | {"compare": ["changing", "micro-operations"]})
    assert "Prices of changing change in this period: version 2 took effect" in plans.text
    assert "Prices of micro-operations change" not in plans.text
    records, told = _at_one_moment(client, _asked(ends))
    whole = sum(D(row["estimatedCost"]) for row in records["estimates"] if not row["operationID"])
    assert records["estimates"][0]["planVersions"] == told["estimates"][0]["versions"]
    assert str(whole) == told["estimates"][0]["expected"]


def _at_one_moment(client: TestClient, ends: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Projected records and the estimate, between which no window closed: it is the same before and after."""
    for _ in range(60):
        before, records, after = (
            client.post("/v1/estimates", json={"user": "acme", "plans": ["changing"]} | ends).json()
            if kind == "estimate"
            else client.get("/v1/estimates/projected", params={"user": "acme", "plan": "changing"} | ends).json()
            for kind in ("estimate", "records", "estimate")
        )
        if before["estimates"] == after["estimates"]:
            return records, after
    pytest.fail("a window closed between any two requests")


def _asked(ends: dict[str, str]) -> dict[str, str]:
    return {f"period_{name}": value for name, value in ends.items()}


def _z(at_s: int) -> str:
    return _iso(at_s * SECOND).replace("+00:00", "Z")
