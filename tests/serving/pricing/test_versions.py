"""A plan that changes in mid-period bills every event under the version in force when it happened."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.plans.plan_files import parse_plan
from serving.pricing.modifiers.credit import Credit
from serving.pricing.plan import Plan
from serving.pricing.proration import share_of
from serving.pricing.usage import Period, UsageRecord
from serving.pricing.versions import rate_versions, slices

D = Decimal
DAY = 86_400 * 10**9
MONTH = Period(0, 30 * DAY)


def _plan(version: int, price: str, fee: str, since_day: int = 0, currency: str = "USD") -> Plan:
    since = f"1970-01-{since_day + 1:02d}T00:00:00Z"
    return parse_plan(
        f"plan: {{id: p, version: {version}, currency: {currency}, effective_from: {since}}}\n"
        "meters: {m: {value: units, meter: m}}\n"
        f'charges: [{{id: use, meter: m, model: per_unit, unit_price: "{price}"}}, '
        f'{{id: fee, model: flat, price: "{fee}"}}]\n'
    )


def _usage(*events: tuple[int, int]) -> list[UsageRecord]:
    return [UsageRecord(day * DAY, day * DAY + 1, "u", "o", "CUSTOM", "m", {"units": D(n)}) for day, n in events]


def test_each_slice_has_its_version_and_its_share_of_fees() -> None:
    """Ten days at the old price and a third of the old fee, twenty at the new."""
    bill = rate_versions([_plan(2, "2", "60", 10), _plan(1, "1", "30")], _usage((9, 5), (10, 5)), MONTH)
    assert [[line.amount for line in invoice.lines] for invoice in bill.slices] == [
        [D("5.00"), D("10.00")],
        [D("10.00"), D("40.00")],
    ]
    assert bill.total == sum(bill.parts().values()) == D("65.00")


def test_versions_not_in_force_are_left_out() -> None:
    """One that starts at or after the end of the period does not bill, nor one replaced before its start."""
    versions = [_plan(1, "1", "1"), _plan(2, "1", "1", 5), _plan(3, "1", "1", 20)]
    assert [(plan.version, part) for plan, part in slices(versions, Period(5 * DAY, 20 * DAY))] == [
        (2, Period(5 * DAY, 20 * DAY))
    ]


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ([], "no version is in force"),
        ([_plan(1, "1", "1", 3)], "no version is in force"),
        ([_plan(1, "1", "1"), _plan(2, "1", "1")], "take effect at once"),
        ([_plan(1, "1", "1"), _plan(2, "1", "1", 3, "EUR")], "different currencies"),
    ],
)
def test_unclear_histories_are_refused(versions: list[Plan], message: str) -> None:
    """Rather than billed by guess."""
    with pytest.raises(ValueError, match=message):
        rate_versions(versions, [], MONTH)


@settings(max_examples=50)
@given(st.integers(1, 29), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 10**6)), max_size=8))
def test_a_change_that_changes_nothing_costs_nothing(day: int, events: list[tuple[int, int]]) -> None:
    """Splitting a period moves the total by rounding only: half a cent a line and slice."""
    one = rate_versions([_plan(1, "0.0137", "9.99")], _usage(*events), MONTH).total
    two = rate_versions([_plan(1, "0.0137", "9.99"), _plan(2, "0.0137", "9.99", day)], _usage(*events), MONTH).total
    assert abs(one - two) <= D("0.03")


def _advance(version: int, fee: str, since_day: int = 0) -> Plan:
    since = f"1970-01-{since_day + 1:02d}T00:00:00Z"
    return parse_plan(
        f"plan: {{id: p, version: {version}, currency: USD, effective_from: {since}}}\n"
        f'charges: [{{id: fee, model: flat, price: "{fee}", due: advance, prorate: day}}]\n'
    )


def test_a_fee_in_advance_comes_back_for_what_is_left() -> None:
    """70 paid for 30 days, after 11 of them the plan costs 110: 19 days come back and 19 are owed, each rounded."""
    bill = rate_versions([_advance(1, "70"), _advance(2, "110", 11)], [], MONTH)
    assert [(line.id, line.amount) for line in bill.lines] == [
        ("fee", D("70.00")),
        ("fee:unused", D("-44.33")),
        ("fee", D("69.67")),
    ]
    assert bill.total == D("95.34")


def test_days_are_shared_by_those_that_begin_in_a_slice() -> None:
    """Six hours into the eleventh day is the eleventh day's end for a fee by days; in nanoseconds it is a quarter."""
    part = share_of(Period(0, 10 * DAY + DAY // 4), MONTH)
    assert abs(part.of_days - D(11) / 30) < D("1e-20")
    assert abs(part.of_time - D("10.25") / 30) < D("1e-20")
    rest = share_of(Period(10 * DAY + DAY // 4, 30 * DAY), MONTH)
    assert abs(part.of_days + rest.of_days - 1) < D("1e-30")


def test_credits_are_used_on_the_whole_period() -> None:
    """A credit pays for both slices, and never more than they cost."""
    versions = [_plan(1, "1", "30"), _plan(2, "2", "60", 10)]
    bill = rate_versions(versions, _usage((9, 5), (10, 5)), MONTH, credits=[Credit("gift", D("1000"))])
    assert bill.total == 0
    assert bill.lines[-1].amount == D("-65.00")
