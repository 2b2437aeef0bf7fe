"""A meter makes one quantity of a period's usage, whatever the order of the records."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.plans.plan_files import PlanError, parse_plan
from serving.pricing.aggregation import KINDS, NANOSECONDS, Aggregation, Sample
from serving.pricing.rate import Invoice, rate
from serving.pricing.usage import Period, UsageRecord, parse_meter

D = Decimal
HOUR_NS = 3600 * NANOSECONDS
DAY = Period(0, 24 * HOUR_NS)


def _samples(*pairs: tuple[int, str]) -> list[Sample]:
    return [Sample(second * NANOSECONDS, D(value)) for second, value in pairs]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Aggregation("sum"), "75"),
        (Aggregation("count"), "4"),
        (Aggregation("max"), "40"),
        (Aggregation("latest"), "5"),
        (Aggregation("average"), "18.75"),
        (Aggregation("max", bucket_s=3600), "65"),
    ],
)
def test_kinds(how: Aggregation, expected: str) -> None:
    """Sum, count, highest, latest, mean, and the highest of every hour added up."""
    samples = _samples((0, "10"), (10, "20"), (3700, "40"), (7300, "5"))
    assert how.quantity(samples, DAY) == D(expected)
    assert how.quantity(samples[::-1], DAY) == D(expected)


def test_a_level_counts_for_as_long_as_it_holds() -> None:
    """10 seats for half a day, then 20 for a quarter, then none."""
    samples = _samples((0, "10"), (12 * 3600, "20"), (18 * 3600, "0"))
    assert Aggregation("time_weighted_average").quantity(samples, DAY) == D("10")


def test_a_change_counts_for_what_is_left_of_the_period() -> None:
    """10 seats from the start and 10 more from noon are 15 on average; levels and changes tell the same."""
    assert Aggregation("weighted_sum").quantity(_samples((0, "10"), (12 * 3600, "10")), DAY) == D("15")
    levels = _samples((0, "10"), (12 * 3600, "20"))
    assert Aggregation("time_weighted_average").quantity(levels, DAY) == D("15")


def test_bandwidth_is_billed_at_its_95th_percentile() -> None:
    """The highest 5 % of the five-minute samples are left out, and quiet ones count as 0."""
    busy = [(index * 300, "100" if index < 14 else "7") for index in range(288)]
    how = Aggregation("percentile", percent=D(95), bucket_s=300)
    assert how.quantity(_samples(*busy), DAY) == D(7)
    assert how.quantity(_samples(*busy, (20 * 300, "93")), DAY) == D(100)
    assert how.quantity(_samples(*busy[:14]), DAY) == 0


def test_distinct_values_count_once() -> None:
    """Seats, told apart by a dimension that the meter's name carries."""
    plan = parse_plan(
        "plan: {id: p, version: 1, currency: USD}\n"
        "meters: {seats: {value: units, meter: active, aggregation: unique_count, of: seat}}\n"
        'charges: [{id: seats, meter: seats, model: per_unit, unit_price: "3"}]\n'
    )
    usage = [_record(f"active{{seat={seat}}}", "1", at=index) for index, seat in enumerate("ababc")]
    assert rate(plan, usage, DAY).total == D(9)
    assert rate(plan, usage[::-1], DAY) == rate(plan, usage, DAY)


def _record(meter: str, units: str, at: int = 0, operation: str = "o") -> UsageRecord:
    name, dimensions = parse_meter(meter)
    return UsageRecord(at, at + 1, "u", operation, "CUSTOM", name, {"units": D(units)}, dimensions)


@pytest.mark.parametrize(
    ("text", "name", "dimensions"),
    [
        ("tokens", "tokens", {}),
        ("tokens{region=eu,model=large}", "tokens", {"region": "eu", "model": "large"}),
        ("tokens{region}", "tokens{region}", {}),
        ("odd{", "odd{", {}),
    ],
)
def test_meters_carry_dimensions(text: str, name: str, dimensions: dict[str, str]) -> None:
    """What is not of the form stays a name as it is."""
    assert parse_meter(text) == (name, dimensions)


def _bill(charge: str, usage: list[UsageRecord], meters: str) -> Invoice:
    text = f"plan: {{id: p, version: 1, currency: USD}}\nmeters: {{{meters}}}\ncharges: [{{id: c, {charge}}}]\n"
    return rate(parse_plan(text), usage, DAY)


def test_a_matrix_prices_by_region() -> None:
    """Dimensions pick the cell; the explanation has a step for every cell that was used."""
    cells = 'cells: [{dimensions: {region: eu}, unit_price: "2"}, {dimensions: {region: us}, unit_price: "3"}]'
    usage = [_record(f"gb{{region={region}}}", "10") for region in ("eu", "us", "ap")]
    bill = _bill(f'meter: gb, model: matrix, unit_price: "5", {cells}', usage, "gb: {value: units, meter: gb}")
    assert bill.total == D(100)
    assert [(step.label, step.amount) for step in bill.lines[0].steps] == [
        ("any", D(50)),
        ("region=eu", D(20)),
        ("region=us", D(30)),
    ]


def test_meters_can_be_kept_to_a_region() -> None:
    """`where` counts what has these dimensions."""
    usage = [_record(f"gb{{region={region}}}", "10") for region in ("eu", "us")]
    bill = _bill(
        'meter: eu, model: per_unit, unit_price: "1"', usage, "eu: {value: units, meter: gb, where: {region: eu}}"
    )
    assert bill.total == D(10)


def test_a_formula_prices_several_meters_together() -> None:
    """The dearer of two meters, with a fee on what is beyond 5; parts are those whose absence would change the bill."""
    meters = "cpu: {value: units, meter: cpu}, ram: {value: units, meter: ram}"
    usage = [_record("cpu", "4", operation="a"), _record("ram", "10", operation="b")]
    bill = _bill('model: formula, expression: "max(cpu * 2, ram * 0.5) + 0.1 * max(ram - 5, 0)"', usage, meters)
    assert bill.total == D("8.50")
    assert sum(bill.parts().values()) == bill.total
    assert set(bill.parts()) == {("a", "CUSTOM"), ("b", "CUSTOM")}
    assert "cpu = 4, ram = 10" in bill.lines[0].formula


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("cpu / ram", "may be 0"),
        ("cpu / 0", "divides by zero"),
        ("disk * 2", "unknown meter 'disk'"),
        ("__import__('os')", "unknown function"),
        ("cpu.real", "are allowed"),
        ("3 + 4", "uses no meter"),
        ("round(cpu, 2)", "takes 1 argument"),
        ("cpu ** 2", "are allowed"),
    ],
)
def test_formulas_hold_arithmetic_only(expression: str, message: str) -> None:
    """Anything else is refused with what is allowed, before it could run."""
    with pytest.raises(PlanError, match=message):
        _bill(f'model: formula, expression: "{expression}"', [], "cpu: {value: cpuCycles}, ram: {value: memoryBytes}")


@pytest.mark.parametrize(
    ("meter", "message"),
    [
        ("{aggregation: unique_count}", "of"),
        ("{aggregation: median}", "aggregation"),
        ('{aggregation: percentile, percent: "101"}', "percentile of 101"),
    ],
)
def test_aggregations_that_cannot_be_are_refused(meter: str, message: str) -> None:
    """With the word that is wrong."""
    with pytest.raises(PlanError, match=message):
        _bill('meter: m, model: per_unit, unit_price: "1"', [], f"m: {meter}")


@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.tuples(st.integers(0, 86_399), st.integers(0, 10**6)), min_size=1, max_size=12),
)
def test_quantities_are_finite_and_blind_to_order(kind: str, pairs: list[tuple[int, int]]) -> None:
    """Whatever the records, the quantity is a number >= 0 and the same for every order of them."""
    samples = [Sample(second * NANOSECONDS, D(value), entity=str(value % 3)) for second, value in pairs]
    how = Aggregation(kind, of="entity" if kind == "unique_count" else "")
    quantity = how.quantity(samples, DAY)
    assert quantity.is_finite()
    assert quantity >= 0
    assert quantity == how.quantity(sorted(samples, key=lambda one: (one.value, one.start_ns)), DAY)
