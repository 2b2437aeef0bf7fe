"""Time of use, demand, service level and quotes compose at the instant of each event and never move a tier."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.plans.plan_files import PlanError, load_plans, parse_plan
from serving.pricing.factors.conditions import Conditions, Quote
from serving.pricing.factors.demand import NANOSECONDS, Demand, DemandState, PriceHistory, next_price
from serving.pricing.factors.schedule import Schedule, Window
from serving.pricing.factors.service_level import ServiceLevel, credit_line
from serving.pricing.modifiers.discount import Discount
from serving.pricing.paths import UsageColumn, rate_paths
from serving.pricing.plan import Plan
from serving.pricing.rate import rate
from serving.pricing.usage import Period, UsageRecord
from serving.pricing.versions import rate_versions

D = Decimal
BERLIN = ZoneInfo("Europe/Berlin")
EXAMPLES = Path(__file__).resolve().parents[3] / "configs" / "plans" / "examples"
LOAD = Demand("load", "system", D("0.7"), D("0.8"), D("0.8"), D("1.5"), 900, D("0.05"), 300, 300, 900)
WEEK = frozenset({"mon", "tue", "wed", "thu", "fri"})


def _ns(*when: int, zone: ZoneInfo | None = None) -> int:
    return int(datetime(*when, tzinfo=zone or UTC).timestamp()) * NANOSECONDS  # type: ignore[arg-type,misc]


def _schedule(*windows: Window, **options: object) -> Schedule:
    return Schedule("s", BERLIN, windows, **options)  # type: ignore[arg-type]


def test_office_hours_are_local() -> None:
    """Nine in Berlin is another instant in summer than in winter."""
    schedule = _schedule(Window(WEEK, time(9), time(17), D("1.25")))
    assert schedule.at(_ns(2026, 7, 1, 7, 0)) == D("1.25")
    assert schedule.at(_ns(2026, 12, 1, 7, 59)) == 1
    assert schedule.at(_ns(2026, 12, 1, 8, 0)) == D("1.25")
    assert schedule.at(_ns(2026, 12, 1, 16, 0)) == 1


def test_a_window_across_midnight_belongs_to_the_evening_it_starts() -> None:
    """Friday night reaches into Saturday, Sunday night into no Monday that was not named."""
    schedule = _schedule(Window(frozenset({"fri"}), time(22), time(6), D("0.5")))
    assert schedule.at(_ns(2026, 11, 28, 5, 59, zone=BERLIN)) == D("0.5")
    assert schedule.at(_ns(2026, 11, 28, 6, 0, zone=BERLIN)) == 1
    assert schedule.at(_ns(2026, 11, 27, 5, 0, zone=BERLIN)) == 1


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)])
def test_days_of_another_length(day: tuple[int, int, int], hours: int) -> None:
    """A factor for a whole local day holds 23 or 25 hours where the clock changes."""
    name = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[date(*day).weekday()]
    schedule = _schedule(Window(frozenset({name}), time(0), time(0), D(2)))
    start = _ns(*day, zone=BERLIN) - 12 * 3600 * NANOSECONDS
    held = sum(schedule.at(start + hour * 3600 * NANOSECONDS) == 2 for hour in range(60))
    assert held == hours


def test_a_holiday_is_no_weekday() -> None:
    """Only windows that name holidays hold on one."""
    schedule = _schedule(Window(WEEK, time(9), time(17), D("1.25")), holidays=frozenset({date(2026, 12, 25)}))
    assert schedule.at(_ns(2026, 12, 25, 12, 0)) == 1
    assert schedule.at(_ns(2026, 12, 24, 12, 0)) == D("1.25")


def test_effective_instants_bound_a_schedule() -> None:
    """From the first instant up to, not including, the last."""
    whole = Window(frozenset({*WEEK, "sat", "sun"}), time(0), time(0), D(2))
    schedule = _schedule(whole, from_ns=100 * NANOSECONDS, until_ns=200 * NANOSECONDS)
    assert [schedule.at(second * NANOSECONDS) for second in (99, 100, 199, 200)] == [1, 2, 2, 1]


@given(st.lists(st.one_of(st.none(), st.decimals(0, 100, places=3)), min_size=1, max_size=60))
def test_a_demand_price_moves_in_small_steps_within_its_bounds(loads: list[Decimal | None]) -> None:
    """Whatever the load does, or when it stops being measured."""
    state, last = DemandState(LOAD.target), D(1)
    for index, load in enumerate(loads):
        at_ns = index * LOAD.interval_s * NANOSECONDS
        state, price = next_price(LOAD, state, load, at_ns)
        assert abs(price.factor - last) <= LOAD.max_step
        assert LOAD.floor <= price.factor <= LOAD.cap
        assert price.from_ns == at_ns + LOAD.lead_s * NANOSECONDS
        last = price.factor


def test_the_published_formula() -> None:
    """One half-life moves the smoothed load half way; the factor follows by its elasticity."""
    rules = Demand("d", "s", D("0.5"), D("0.8"), D("0.5"), D(3), 300, D(1), 300, 0, 900)
    _, price = next_price(rules, DemandState(D("0.5")), D(1), 0)
    assert price.factor == D("1.4000")


def test_a_stale_signal_returns_to_the_list_price() -> None:
    """By the same step as any other change."""
    state = DemandState(D(1), D("1.12"))
    seen = []
    for _ in range(4):
        state, price = next_price(LOAD, state, D(1), 0, age_s=901)
        seen.append(price.factor)
    assert seen == [D("1.0700"), D("1.0200"), D("1.0000"), D("1.0000")]


def test_outside_published_prices_the_list_price_holds() -> None:
    """Nothing published is no surcharge."""
    _, price = next_price(LOAD, DemandState(D("0.7")), D(2), 0)
    history = PriceHistory([price])
    assert history.at(price.from_ns - 1) == history.at(price.until_ns) == 1
    assert history.at(price.from_ns) == price.factor == D("1.05")


@pytest.fixture(scope="module")
def plan() -> Plan:
    """The shipped plan with every kind of factor."""
    return load_plans(EXAMPLES)["time-of-use"]


NOON, NIGHT = _ns(2026, 12, 1, 12, 0), _ns(2026, 12, 1, 23, 0)
PERIOD = Period(_ns(2026, 12, 1), _ns(2027, 1, 1))


def _usage(at_ns: int, micro: str = "CPU_INSTRUCTION", **quantities: int) -> UsageRecord:
    exact = {name: D(value) for name, value in quantities.items()}
    return UsageRecord(at_ns, at_ns + 1, "ada", "checkout", micro, "", exact)


def test_time_and_service_level_multiply(plan: Plan) -> None:
    """1000 x 0.02 x 1.25 x 1.20, each surcharge a line of its own that names the parts."""
    bill = rate(plan, [_usage(NOON, cpuCycles=10**12)], PERIOD)
    assert [(line.id, line.amount) for line in bill.lines if line.amount] == [
        ("cpu", D("20.00")),
        ("cpu:office_hours", D("5.00")),
        ("cpu:gold", D("5.00")),
    ]
    assert bill.parts()["checkout", "CPU_INSTRUCTION"] == D("30.00")


def test_demand_is_capped_with_everything_else(plan: Plan) -> None:
    """1.25 x 1.5 x 1.2 = 2.25 is kept at the plan's 1.80, then at the customer's own maximum, then at the quote."""
    _, price = next_price(LOAD, DemandState(D(5), D("1.45")), D(5), NOON - LOAD.lead_s * NANOSECONDS)
    published = {"load": PriceHistory([price])}
    usage = [_usage(NOON, cpuCycles=10**12)]
    quote = Quote("q", NOON, NOON + 1, D("1.1"))
    totals = [
        rate(plan, usage, PERIOD, conditions=Conditions(published, maximum, quotes)).total
        for maximum, quotes in [(None, ()), (D("1.5"), ()), (D("1.5"), (quote,))]
    ]
    assert totals == [D("36.00"), D("30.00"), D("22.00")]


def test_a_quote_covers_its_quantity_once_though_the_plan_changes(plan: Plan) -> None:
    """Two equal uses, a new version of the same prices between them: the promise is for one and a half of them."""
    usage = [_usage(NOON, cpuCycles=10**12), _usage(_ns(2026, 12, 15, 12, 0), cpuCycles=10**12)]
    once = rate(plan, usage[:1], PERIOD)
    quantity = next(line.quantity for line in once.lines if line.id == "cpu")
    quote = Quote("q", PERIOD.start_ns, PERIOD.end_ns, D("1.1"), "cpu", quantity * D("1.5"))
    later = replace(plan, version=plan.version + 1, effective_from_ns=_ns(2026, 12, 10))
    first = replace(plan, effective_from_ns=PERIOD.start_ns)
    bill = rate_versions([first, later], usage, PERIOD, Conditions(quotes=(quote,)))
    saved = [line.amount for line in bill.lines if line.id == "cpu:quote:q"]
    assert saved == [D("-8.00"), D("-4.00")]


def test_factors_never_move_usage_between_tiers(plan: Plan) -> None:
    """The tariff prices the unweighted quantity; the mean factor multiplies the result."""
    usage = [
        _usage(NOON, "DISK_READ", diskBytes=150 * 10**9),
        _usage(NIGHT, "DISK_READ", diskBytes=50 * 10**9),
    ]
    lines = {line.id: line.amount for line in rate(plan, usage, PERIOD).lines}
    base = D(100) * D("0.10") + D(100) * D("0.08")
    mean = (150 * D("1.25") + 50 * D("0.80")) / 200
    assert lines["disk"] == base
    assert lines["disk"] + lines["disk:office_hours"] == (base * mean).quantize(D("0.01"))
    assert rate(plan, usage, PERIOD) == rate(plan, usage[::-1], PERIOD)


def test_paths_need_the_mean_factor(plan: Plan) -> None:
    """Sums of a path do not tell when usage was; with a mean they cost what a bill says."""
    column = UsageColumn("checkout", "CPU_INSTRUCTION", "cpu_cycles")
    with pytest.raises(ValueError, match="give their mean"):
        rate_paths(plan, [column], [[1e12]])
    costs = rate_paths(plan, [column], [[1e12]], {"cpu": D("1.5"), "disk": D(1)})
    assert costs.totals == [rate(plan, [_usage(NOON, cpuCycles=10**12)], PERIOD).total]


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.integers(0, 10**13), st.integers(0, 10**10), st.integers(500_000, 1_800_000)),
        min_size=1,
        max_size=5,
    )
)
def test_paths_with_factors_cost_what_one_after_the_other_says(plan: Plan, rows: list[tuple[int, int, int]]) -> None:
    """All paths at once, with a factor of their own each, are as exact as one path after the other."""
    columns = [UsageColumn("a", "CPU_INSTRUCTION", "cpu_cycles"), UsageColumn("b", "DISK_READ", "disk_bytes")]
    totals = [[float(cpu), float(disk)] for cpu, disk, _ in rows]
    factors = np.array([[factor / 1e6] * 2 for _, _, factor in rows])
    costs = rate_paths(plan, columns, totals, {"cpu": factors, "disk": factors})
    discounted = replace(plan, discounts=(Discount("none", percent_off=D(0)),))  # discounts go one by one
    exact = rate_paths(discounted, columns, totals, {"cpu": factors, "disk": factors})
    assert costs.totals == exact.totals
    assert [sum(values) for values in zip(*costs.parts.values(), strict=True)] == costs.totals


def test_broken_promises_are_credited_with_evidence(plan: Plan) -> None:
    """The lowest bound missed gives the percent, within the cap, as a negative line that says what was measured."""
    level = ServiceLevel(
        "gold", D("1.2"), {"latency_p99_ms": D(250)}, ((D("99.9"), D(10)), (D("99"), D(25)), (D("95"), D(80))), D(50)
    )
    assert [level.percent(D(x)) for x in ("99.9", "99.5", "98", "94.8")] == [0, 10, 25, 50]
    bill = rate(plan, [_usage(NOON, cpuCycles=10**12)], PERIOD)
    breaches = level.breaches({"latency_p99_ms": D(400)}, NOON, NIGHT)
    line = credit_line(level, bill, D("99.5"), breaches)
    assert line is not None
    assert line.amount == D("-3.00") == sum(line.parts.values())
    assert "latency_p99_ms 400 instead of 250" in line.formula
    assert credit_line(level, bill, D(100), []) is None


def test_the_example_plans_are_good() -> None:
    """Tokens, commitment, time of use, and seats with bandwidth load."""
    assert set(load_plans(EXAMPLES)) == {"llm-tokens", "committed", "time-of-use", "platform"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Europe/Berlin", "Europe/Berln", "unknown time zone"),
        ("holidays: DE", "holidays: Narnia", "no holidays known"),
        ("[office_hours]", "[office_ours]", "unknown modifier 'office_ours'"),
        ('cap: "1.50"', 'cap: "0.90"', "must enclose"),
        ('cap: "1.80"', 'cap: "0.10"', "not above the cap"),
    ],
)
def test_mistakes_in_factors_are_shown(old: str, new: str, message: str) -> None:
    """With what was found and what is allowed."""
    text = (EXAMPLES / "time-of-use.yaml").read_text()
    with pytest.raises(PlanError, match=message):
        parse_plan(text.replace(old, new))
