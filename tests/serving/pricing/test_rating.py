"""Charges follow their definitions to the cent, and paths cost what an invoice would say."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.plans.plan_files import parse_plan
from serving.pricing.charges.graduated import Graduated
from serving.pricing.charges.tier import Tier
from serving.pricing.charges.volume import Volume
from serving.pricing.money import exponent, rounded, split
from serving.pricing.paths import UsageColumn, rate_paths
from serving.pricing.plan import Plan
from serving.pricing.rate import rate
from serving.pricing.usage import Period, UsageRecord

PERIOD = Period(0, 10**18)
D = Decimal
PLAN = """
plan: {id: test, version: 3, currency: USD}
meters:
  disk_gb: {microOperationType: [DISK_READ, DISK_WRITE], value: diskBytes / 1e9}
  cycles: {value: cpuCycles / 1e9}
  runs: {value: units, meter: executions}
charges:
  - id: disk
    meter: disk_gb
    model: graduated
    tiers: [{up_to: 100, unit_price: "0.10"}, {up_to: null, unit_price: "0.08"}]
    minimum: {amount: "5.00"}
  - {id: cpu, meter: cycles, model: per_unit, unit_price: "0.013", maximum: {amount: "40.00"}}
  - id: runs
    meter: runs
    model: volume
    tiers: [{up_to: 10, unit_price: "0.5"}, {up_to: null, unit_price: "0.3", flat_fee: "1"}]
  - {id: fee, model: flat, price: "2.50"}
"""


@pytest.fixture(scope="module")
def plan() -> Plan:
    """A plan with every kind of charge."""
    return parse_plan(PLAN)


def _record(micro: str, operation: str = "checkout", meter: str = "", **quantities: object) -> UsageRecord:
    exact = {name: D(str(value)) for name, value in quantities.items()}
    return UsageRecord(0, 1, "ada", operation, micro, meter, exact)


TIERS = (Tier(D(10), D("1")), Tier(D(20), D("0.5"), D("3")), Tier(None, D("0.1")))


@pytest.mark.parametrize(
    ("quantity", "graduated", "volume"),
    [
        ("0", "0", "0"),
        ("10", "10", "10"),
        ("10.5", "13.25", "8.25"),
        ("20", "18", "13"),
        ("25", "18.5", "2.5"),
    ],
)
def test_tiers_are_inclusive_above(quantity: str, graduated: str, volume: str) -> None:
    """A bound belongs to the tier below it, a fraction beyond it to the next; entered tiers charge their fee."""
    assert Graduated(TIERS).amount(D(quantity)) == D(graduated)
    assert Volume(TIERS).amount(D(quantity)) == D(volume)


def test_first_flat_fee_at_zero_is_the_plans_choice() -> None:
    """Tier 1's fee is charged at zero usage unless the plan says otherwise."""
    tiers = (Tier(None, D(1), D(7)),)
    assert Graduated(tiers).amount(D(0)) == 7
    assert Graduated(tiers, charge_at_zero=False).amount(D(0)) == 0
    assert Volume(tiers, charge_at_zero=False).amount(D(0)) == 0


def test_an_invoice_line_by_line(plan: Plan) -> None:
    """Minimum and maximum are lines of their own, and the total is the sum of rounded lines."""
    usage = [
        _record("DISK_READ", diskBytes=20_000_000_000),
        _record("CPU_INSTRUCTION", cpuCycles=5_000_000_000_000, meter="executions", units=11),
    ]
    invoice = rate(plan, usage, PERIOD)
    assert [(line.id, line.amount) for line in invoice.lines] == [
        ("disk", D("2.00")),
        ("disk:minimum", D("3.00")),
        ("cpu", D("65.00")),
        ("cpu:maximum", D("-25.00")),
        ("runs", D("4.30")),
        ("fee", D("2.50")),
    ]
    assert invoice.total == D("51.80")
    assert sum(invoice.parts().values()) == invoice.total


def test_usage_outside_the_period_is_not_billed(plan: Plan) -> None:
    """The end of a period belongs to the next one."""
    late = UsageRecord(PERIOD.end_ns, PERIOD.end_ns + 1, "ada", "o", "DISK_READ", "", {"diskBytes": D(10**12)})
    assert rate(plan, [late], PERIOD).total == rate(plan, [], PERIOD).total


def test_negative_usage_is_refused() -> None:
    """A correction has its own way; a negative amount in usage is an error that names it."""
    with pytest.raises(ValueError, match="diskBytes of 'checkout' is -1"):
        _record("DISK_READ", diskBytes=-1)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["checkout", "search"]),
            st.sampled_from(["DISK_READ", "DISK_WRITE", "CPU_INSTRUCTION"]),
            st.integers(0, 10**14),
        ),
        max_size=8,
        unique_by=lambda item: item[:2],
    ),
    st.integers(0, 40),
)
def test_a_path_costs_what_its_invoice_says(items: list[tuple[str, str, int]], runs: int) -> None:
    """Rating a path gives the invoice's total and its split by operation and micro-operation, exactly."""
    plan = parse_plan(PLAN)
    fields = {"DISK_READ": "diskBytes", "DISK_WRITE": "diskBytes", "CPU_INSTRUCTION": "cpuCycles"}
    resources = {"diskBytes": "disk_bytes", "cpuCycles": "cpu_cycles"}
    records = [_record(micro, operation, **{fields[micro]: amount}) for operation, micro, amount in items]
    records.append(_record("CPU_INSTRUCTION", "checkout", meter="executions", units=runs))
    columns = [UsageColumn(operation, micro, resources[fields[micro]]) for operation, micro, _ in items]
    columns.append(UsageColumn("checkout", "CPU_INSTRUCTION", "executions"))
    row = [float(amount) for _, _, amount in items] + [float(runs)]
    invoice = rate(plan, records, PERIOD)
    paths = rate_paths(plan, columns, [row, row])
    assert paths.totals == [invoice.total] * 2
    assert {part: values[0] for part, values in paths.parts.items() if values[0]} == {
        part: amount for part, amount in invoice.parts().items() if amount
    }


@settings(max_examples=200)
@given(st.integers(-(10**9), 10**9), st.lists(st.integers(0, 10**12), min_size=1, max_size=12))
def test_splits_add_up(cents: int, weights: list[int]) -> None:
    """Parts of a line are whole cents, add up to it, and differ from their exact share by less than a cent."""
    amount = D(cents) / 100
    parts = split(amount, [D(weight) for weight in weights], "USD")
    assert sum(parts) == amount
    for part, weight in zip(parts, weights, strict=True):
        assert part == part.quantize(D("0.01"))
        if sum(weights):
            assert abs(part - amount * weight / sum(weights)) < D("0.01")


@settings(max_examples=60)
@given(st.lists(st.integers(0, 10**13), min_size=2, max_size=10))
def test_order_of_usage_does_not_matter(amounts: list[int]) -> None:
    """The same events in another order are the same bill."""
    plan = parse_plan(PLAN)
    records = [_record("DISK_READ", f"op{index % 3}", diskBytes=amount) for index, amount in enumerate(amounts)]
    assert rate(plan, records, PERIOD) == rate(plan, records[::-1], PERIOD)


def test_rounding_is_half_away_from_zero_in_the_currencys_unit() -> None:
    """Yen have no cents and dinars three digits."""
    assert rounded(D("0.125"), "USD") == D("0.13")
    assert rounded(D("-0.125"), "USD") == D("-0.13")
    assert rounded(D("12.5"), "JPY") == D("13")
    assert (exponent("KWD"), exponent("JPY"), exponent("EUR")) == (3, 0, 2)


WHOLE = "plan: {id: fast, version: 1, currency: %s}\n" + PLAN.split("\n", 2)[2].replace(
    ', maximum: {amount: "40.00"}', ""
)


@settings(max_examples=60)
@given(
    st.sampled_from(["USD", "JPY", "KWD"]),
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["DISK_READ", "CPU_INSTRUCTION"]),
            st.one_of(st.integers(0, 10**13).map(float), st.floats(0, 10**9), st.integers(10**14, 10**15).map(float)),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda item: item[:2],
    ),
    st.integers(0, 40),
)
def test_all_paths_at_once_cost_what_each_invoice_says(
    currency: str, items: list[tuple[str, str, float]], runs: int
) -> None:
    """Whole, fractional and very large usage: the fast way over many paths gives the invoice's total and split."""
    plan = parse_plan(WHOLE % currency)
    names = {"DISK_READ": ("diskBytes", "disk_bytes"), "CPU_INSTRUCTION": ("cpuCycles", "cpu_cycles")}
    columns = [UsageColumn(operation, micro, names[micro][1]) for operation, micro, _ in items]
    columns.append(UsageColumn("a", "CPU_INSTRUCTION", "executions"))
    row = [*(amount for _, _, amount in items), float(runs)]
    records = [_record(micro, operation, **{names[micro][0]: f"{amount:.6f}"}) for operation, micro, amount in items]
    records.append(_record("CPU_INSTRUCTION", "a", meter="executions", units=runs))
    invoice = rate(plan, records, PERIOD)
    paths = rate_paths(plan, columns, [row, [0.0] * len(row), row])
    empty = rate(plan, [], PERIOD)
    assert paths.totals == [invoice.total, empty.total, invoice.total]
    for part, amounts in paths.parts.items():
        assert amounts[0] == amounts[2] == invoice.parts().get(part, 0)
        assert amounts[1] == empty.parts().get(part, 0)
    assert sum(amounts[0] for amounts in paths.parts.values()) == invoice.total


def test_usage_that_is_no_number_is_refused(plan: Plan) -> None:
    """A path of a broken model is an error, not a bill."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="must be finite"):
            rate_paths(plan, [UsageColumn("a", "DISK_READ", "disk_bytes")], [[value]])
