"""Every step between a meter and the last line is visible, in order, and never takes more than is owed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.plans.plan_files import PlanError, parse_plan
from serving.pricing.modifiers.credit import Credit
from serving.pricing.rate import Invoice, rate
from serving.pricing.usage import Period, UsageRecord

D = Decimal
PERIOD = Period(0, 10**18)


def _bill(charge: str, *values: str, extra: str = "", currency: str = "USD", **options: object) -> Invoice:
    plan = parse_plan(
        f"plan: {{id: p, version: 1, currency: {currency}}}\n"
        "meters: {m: {value: units, meter: m}}\n"
        f"charges: [{{id: c, meter: m, {charge}}}]\n{extra}"
    )
    usage = [
        UsageRecord(index, index + 1, "ada", f"op{index}", "CUSTOM", "m", {"units": D(value)})
        for index, value in enumerate(values)
    ]
    return rate(plan, usage, PERIOD, **options)  # type: ignore[arg-type]


def test_the_order_of_lines() -> None:
    """Usage, overage, maximum, discounts of the charge, discounts of the invoice, credits."""
    charge = (
        'model: per_unit, unit_price: "2", commitment: {amount: "100", overage_factor: "1.5"}, '
        'maximum: {amount: "150"}, discounts: [{id: loyal, percent_off: "10"}, {id: early, amount_off: "5"}]'
    )
    bill = _bill(charge, "80", extra='discounts: [{id: all, percent_off: "50"}]', credits=[Credit("gift", D("20"))])
    assert [(line.id, line.amount) for line in bill.lines] == [
        ("c", D("160.00")),
        ("c:overage", D("30.00")),
        ("c:maximum", D("-40.00")),
        ("c:discount:loyal", D("-15.00")),
        ("c:discount:early", D("-5.00")),
        ("discount:all", D("-65.00")),
        ("credit:gift", D("-20.00")),
    ]
    assert bill.total == D("45.00")


def test_quantity_steps_run_as_written() -> None:
    """Free units first and blocks then is another price than the other way round."""
    price = 'model: per_unit, unit_price: "1", quantity: '
    assert _bill(price + '[{free: "5"}, {blocks_of: "10"}]', "21").total == 2
    assert _bill(price + '[{blocks_of: "10"}, {free: "1"}]', "21").total == 2
    assert _bill(price + '[{blocks_of: "10"}, {free: "5"}]', "21").total == 0


def test_a_committed_quantity_is_priced_by_its_tiers() -> None:
    """What is left unused of a committed quantity costs what its tiers say."""
    tiers = 'model: graduated, tiers: [{up_to: 10, unit_price: "3"}, {up_to: null, unit_price: "1"}], '
    bill = _bill(tiers + 'commitment: {quantity: "20"}', "5")
    assert [line.amount for line in bill.lines] == [D("15.00"), D("25.00")]
    assert bill.parts()["", ""] == D("25.00")


def test_a_free_allowance_ends_at_the_first_limit() -> None:
    """Two free events or 100 of value, whichever comes first; the event across the limit pays for what is beyond."""
    charge = 'model: percentage, rate_percent: "10", fixed_fee: "1", free_events: 2, free_amount: "100"'
    assert _bill(charge, "60", "30", "50").total == D("6.00")
    assert _bill(charge, "60", "60", "50").total == D("9.00")


def test_a_matrix_prices_by_who_and_what() -> None:
    """The first cell that matches is the price, and each part pays its own."""
    charge = 'model: matrix, unit_price: "1", cells: [{operation: op1, unit_price: "5"}]'
    bill = _bill(charge, "10", "10")
    assert bill.parts() == {("op0", "CUSTOM"): D("10.00"), ("op1", "CUSTOM"): D("50.00")}


def test_credits_are_used_by_priority_and_expiry() -> None:
    """Lowest priority first, then what expires first; what has expired is left alone."""
    credits = [
        Credit("later", D("5"), expires_ns=3 * 10**18),
        Credit("sooner", D("5"), expires_ns=2 * 10**18),
        Credit("gone", D("99"), expires_ns=1),
        Credit("first", D("1"), priority=-1),
    ]
    bill = _bill('model: per_unit, unit_price: "1"', "8", credits=credits)
    assert [(line.id, line.amount) for line in bill.lines[1:]] == [
        ("credit:first", D("-1.00")),
        ("credit:sooner", D("-5.00")),
        ("credit:later", D("-2.00")),
    ]
    assert bill.total == 0


@pytest.mark.parametrize(
    ("charge", "message"),
    [
        (
            'model: per_unit, unit_price: "1", commitment: {amount: "1", quantity: "2"}',
            "an amount or a quantity",
        ),
        ('model: per_unit, unit_price: "1", quantity: [{free: "1", blocks_of: "2"}]', "exactly one of"),
        ('model: per_unit, unit_price: "1", discounts: [{id: x, percent_off: "101"}]', "between 0 and 100"),
        ('model: package, price: "1", package_size: "0"', "must be above 0"),
        ('model: matrix, unit_price: "1", cells: [], quantity: [{free: "1"}]', "no quantity steps"),
        ('model: stair_step, tiers: [{up_to: null, unit_price: "1"}]', "no unit_price"),
    ],
)
def test_terms_that_make_no_sense_are_refused(charge: str, message: str) -> None:
    """With the line of the file and what would be allowed."""
    with pytest.raises(PlanError, match=message):
        _bill(charge, "1")


MODELS = {
    "per_unit": 'model: per_unit, unit_price: "0.37"',
    "package": 'model: package, price: "3", package_size: "7", free_units: "4"',
    "graduated": 'model: graduated, tiers: [{up_to: 10, unit_price: "3", flat_fee: "2"}, {up_to: null}]',
    "stair_step": 'model: stair_step, tiers: [{up_to: 10, flat_fee: "2"}, {up_to: null, flat_fee: "9"}]',
    "percentage": 'model: percentage, rate_percent: "2.5", fixed_fee: "0.2", per_event_min: "1", per_event_max: "40"',
    "graduated_percentage": 'model: graduated_percentage, tiers: [{up_to: 50, rate_percent: "9"}, {up_to: null}]',
    "dynamic": "model: dynamic",
    "commitment": 'model: per_unit, unit_price: "2", commitment: {amount: "100", overage_factor: "1.5"}',
}
quantities = st.decimals(0, 10**15, allow_nan=False, places=3).filter(bool)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=25)
@given(quantities, quantities)
def test_more_usage_never_costs_less(model: str, low: Decimal, more: Decimal) -> None:
    """For every model but volume and thresholds."""
    assert _bill(MODELS[model], str(low)).total <= _bill(MODELS[model], str(low + more)).total


@settings(max_examples=40)
@given(
    st.lists(quantities, min_size=1, max_size=5),
    st.decimals(0, 100, places=2),
    st.decimals(0, 10**6, places=2),
    st.sampled_from(["USD", "JPY", "KWD"]),
)
def test_what_is_taken_off_never_exceeds_what_is_owed(
    values: list[Decimal], percent: Decimal, credit: Decimal, currency: str
) -> None:
    """In currencies of 0, 2 and 3 decimals: the total is never negative, and parts add up to it."""
    charge = f'model: per_unit, unit_price: "0.0123", discounts: [{{id: a, percent_off: "{percent}"}}]'
    extra = 'discounts: [{id: b, amount_off: "7"}]'
    bill = _bill(
        charge, *map(str, values), extra=extra, currency=currency, credits=[Credit("c", credit), Credit("d", credit)]
    )
    assert bill.total >= 0
    assert sum(bill.parts().values()) == bill.total
    for line in bill.lines:
        assert sum(line.parts.values()) == line.amount
    used = [-line.amount for line in bill.lines if line.kind == "credit"]
    assert all(amount <= credit for amount in used)


def test_what_is_taxed_is_told_by_code() -> None:
    """Deductions of the invoice are shared by the codes; credits pay, and leave what is taxed as it is."""
    plan = parse_plan(
        "plan: {id: p, version: 1, currency: USD}\n"
        'charges: [{id: a, model: flat, price: "60", tax_code: goods},\n'
        '  {id: b, model: flat, price: "30", tax_code: work}]\n'
        'discounts: [{id: all, amount_off: "9"}]\n'
    )
    bill = rate(plan, [], PERIOD, credits=[Credit("gift", D("20"))])
    assert bill.taxable() == {"goods": D("54.00"), "work": D("27.00")}
    assert bill.total == D("61.00")


def test_free_events_and_free_value_apart() -> None:
    """Two charges of one meter: a share after a free value, and a fee after free events, neither ending the other."""
    plan = parse_plan(
        "plan: {id: p, version: 1, currency: USD}\n"
        "meters: {value: {value: units, meter: m}, events: {value: units, meter: m, aggregation: count}}\n"
        'charges: [{id: share, meter: value, model: percentage, rate_percent: "2", free_amount: "300"},\n'
        '  {id: fee, meter: events, model: per_unit, unit_price: "0.50", quantity: [{free: "3"}]}]\n'
    )
    usage = [UsageRecord(n, n + 1, "ada", "pay", "CUSTOM", "m", {"units": D("100")}) for n in range(5)]
    assert [line.amount for line in rate(plan, usage, PERIOD).lines] == [D("4.00"), D("1.00")]


def test_a_record_of_several_events_pays_the_fee_of_each() -> None:
    """A window that holds four payments of 25 costs what four events cost, with free ones and bounds."""
    charge = 'model: percentage, rate_percent: "10", fixed_fee: "1", per_event_max: "3", free_events: 1'
    four = _bill(charge, "25", "25", "25", "25")
    plan = parse_plan(
        "plan: {id: p, version: 1, currency: USD}\nmeters: {m: {value: units, meter: m}}\n"
        f"charges: [{{id: c, meter: m, {charge}}}]\n"
    )
    one = rate(plan, [UsageRecord(0, 1, "ada", "op", "CUSTOM", "m", {"units": D(100), "events": D(4)})], PERIOD)
    assert one.total == four.total == D("9.00")
