"""Sample paths of a period in which a plan changes cost what an invoice over the same usage says, to the cent."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.plans.plan_files import parse_plan
from serving.pricing.line import summed
from serving.pricing.paths import UsageColumn, rate_paths
from serving.pricing.plan import Plan
from serving.pricing.usage import Period, UsageRecord
from serving.pricing.versioned_plan import VersionedPlan
from serving.pricing.versions import rate_versions

D = Decimal
SECOND, DAY = 10**9, 86_400 * 10**9
MONTH = Period(0, 30 * DAY)
COLUMNS = tuple(UsageColumn(operation, "CUSTOM", "m") for operation in ("a", "b", "c"))
TIERS = [
    {"up_to": 10, "unit_price": "3", "flat_fee": "1"},
    {"up_to": 1000, "unit_price": "2.5"},
    {"up_to": None, "unit_price": "0.0371"},
]
MODELS: tuple[dict[str, Any], ...] = (
    {"model": "per_unit", "unit_price": "0.0375"},
    {"model": "package", "price": "7", "package_size": "12", "free_units": "5"},
    {"model": "graduated", "tiers": TIERS},
    {"model": "volume", "tiers": TIERS},
    {"model": "matrix", "unit_price": "1", "cells": [{"operation": "b", "unit_price": "4.003"}]},
)
BOUNDS: tuple[dict[str, Any], ...] = (
    {},
    {"minimum": {"amount": "77.77"}},
    {"maximum": {"amount": "60.01"}},
    {"commitment": {"amount": "100", "overage_factor": "1.3"}},
    {"discounts": [{"id": "d", "percent_off": "12.5"}]},
)


def _plan(version: int, since_ns: int, charges: list[dict[str, Any]], **more: Any) -> Plan:
    since = f"1970-01-{since_ns // DAY + 1:02d}T00:00:{since_ns % DAY // SECOND:02d}Z"
    used = [{"id": f"c{i}", "meter": "m"} | charge for i, charge in enumerate(charges) if charge["model"] != "flat"]
    fees = [{"id": f"f{i}"} | charge for i, charge in enumerate(charges) if charge["model"] == "flat"]
    document = {
        "plan": {"id": "p", "version": version, "currency": "USD", "effective_from": since},
        "meters": {"m": {"value": "units", "meter": "m"}},
        "charges": used + fees,
    }
    return parse_plan(json.dumps(document | more))


@st.composite
def _versions(draw: st.DrawFn) -> list[Plan]:
    """One to four versions; the first may take effect after the period has begun, as those of new plans do."""
    days = sorted(draw(st.sets(st.integers(1, 29), max_size=3)))
    made = []
    for version, day in enumerate([draw(st.sampled_from((0, 0, 1))) if 1 not in days else 0, *days], start=1):
        charges = [draw(st.sampled_from(MODELS)) | draw(st.sampled_from(BOUNDS))]
        if draw(st.booleans()):
            price, due = draw(st.sampled_from(("12.50", "99.99"))), draw(st.sampled_from(("advance", "arrears")))
            charges.append({"model": "flat", "price": price, "due": due, "prorate": draw(st.sampled_from(WAYS))})
        spend = draw(st.sampled_from(({}, {}, {"minimum": {"amount": "140.03"}}, {"maximum": {"amount": "90"}})))
        off = {"discounts": [{"id": "all", "percent_off": "7"}]} if draw(st.booleans()) else {}
        made.append(_plan(version, day * DAY + draw(st.integers(0, 59)) * SECOND * bool(day), charges, **spend, **off))
    return made


WAYS = ("second", "day")
PATHS = st.lists(
    st.lists(st.lists(st.integers(0, 3_000), min_size=3, max_size=3), min_size=4, max_size=4), min_size=2, max_size=4
)
"""Units on each path, in each of the most slices there are, of each column."""


def _invoice(versions: list[Plan], plan: VersionedPlan, path: list[list[int]]) -> tuple[Decimal, dict[Any, Decimal]]:
    records = [
        UsageRecord(one.part.start_ns, one.part.end_ns, "u", column.operation_id, "CUSTOM", "m", {"units": D(units)})
        for one, row in zip(plan.slices, path, strict=False)
        for column, units in zip(COLUMNS, row, strict=True)
    ]
    bill = rate_versions(plan.plans, records, MONTH)
    assert len(plan.slices) == len(versions)
    return bill.total, summed(bill.lines)


@settings(max_examples=80, deadline=None)
@given(_versions(), PATHS)
def test_every_path_costs_what_the_invoice_says(versions: list[Plan], paths: list[list[list[int]]]) -> None:
    """Fees and bounds are shared, tiers start anew and advances come back as on an invoice, and so do the parts."""
    plan = VersionedPlan.over(versions, MONTH)
    usage = [np.array([path[place] for path in paths], float) for place in range(len(plan.slices))]
    costs = plan.rate_paths(COLUMNS, usage, [None] * len(usage))
    for index, path in enumerate(paths):
        total, parts = _invoice(versions, plan, path)
        assert costs.totals[index] == total
        found = {part: amounts[index] for part, amounts in costs.parts.items() if amounts[index]}
        assert found == {part: amount for part, amount in parts.items() if amount}


def test_what_is_the_same_on_all_paths_may_be_told_once() -> None:
    """A part of the period that has passed is one row, and costs what it would in as many rows as there are paths."""
    plan = VersionedPlan.over([_plan(1, 0, [MODELS[2]]), _plan(2, 9 * DAY, [MODELS[0]])], MONTH)
    passed, ahead = np.array([[4.0, 5.0, 6.5]]), np.array([[1.0, 2.0, 3.0], [7.0, 8.0, 9.0]])
    once = plan.rate_paths(COLUMNS, [passed, ahead], [None, None])
    again = plan.rate_paths(COLUMNS, [np.repeat(passed, 2, axis=0), ahead], [None, None])
    assert once == again
    assert len(once.totals) == 2


def test_one_version_is_priced_as_ever() -> None:
    """Also where it takes effect within the period: usage before it counts as under it."""
    version = _plan(1, 3 * DAY, [MODELS[2], {"model": "flat", "price": "9.99", "due": "advance"}])
    plan, usage = VersionedPlan.over([version], MONTH), np.array([[1.0, 2.0, 3.0]])
    assert plan.rate_paths(COLUMNS, [usage], [None]) == rate_paths(version, COLUMNS, usage)
    assert (plan.cuts_ns, plan.place(0), plan.period) == ((), 0, MONTH)


def test_the_version_of_an_instant_is_found() -> None:
    """A cut belongs to what begins with it; before and after the period its ends hold."""
    plan = VersionedPlan.over([_plan(1, 0, [MODELS[0]]), *(_plan(n, n * DAY, [MODELS[1]]) for n in (2, 5))], MONTH)
    assert [plan.place(day * DAY) for day in (-1, 0, 2, 4, 5, 31)] == [0, 0, 1, 1, 2, 2]
    assert plan.cuts_ns == (2 * DAY, 5 * DAY)
    assert all(earlier.part.end_ns == later.part.start_ns for earlier, later in pairwise(plan.slices))


@pytest.mark.parametrize("amount", ["5.00", "0.01", "0.015", "33.33"])
def test_shares_of_a_minimum_are_exact_on_all_paths_at_once(amount: str) -> None:
    """A third of a minimum has no end in decimals, yet each gap is rounded as on an invoice."""
    first = _plan(1, 0, [{"model": "per_unit", "unit_price": "0.0005", "minimum": {"amount": amount}}])
    plan = VersionedPlan.over([first, _plan(2, 10 * DAY, [MODELS[0]])], MONTH)
    rows = [[[units, 0, 0], [0, 0, 0]] for units in (0, 1, 10, 3_329, 3_333, 3_334, 9_990, 10**6)]
    costs = plan.rate_paths(COLUMNS, [np.array([row[0] for row in rows], float), np.zeros((1, 3))], [None, None])
    assert costs.totals == [_invoice([first, plan.plans[1]], plan, row)[0] for row in rows]


def test_a_true_up_is_what_rounded_sums_lack() -> None:
    """4.995 is billed as 5.00, so a minimum of 5.00 adds nothing on a path either, though half a cent is missing."""
    version = _plan(1, 0, [{"model": "per_unit", "unit_price": "0.0005", "minimum": {"amount": "5.00"}}])
    assert rate_paths(version, COLUMNS, [[9_990.0, 0.0, 0.0]]).totals == [D("5.00")]
