"""A plan that changes in mid-period bills every event under the version in force when it happened."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.plan_files import parse_plan
from serving.pricing.plan import Plan
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


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 29), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 10**6)), max_size=8))
def test_a_change_that_changes_nothing_costs_nothing(day: int, events: list[tuple[int, int]]) -> None:
    """Splitting a period moves the total by rounding only: half a cent a line and slice."""
    one = rate_versions([_plan(1, "0.0137", "9.99")], _usage(*events), MONTH).total
    two = rate_versions([_plan(1, "0.0137", "9.99"), _plan(2, "0.0137", "9.99", day)], _usage(*events), MONTH).total
    assert abs(one - two) <= D("0.03")
