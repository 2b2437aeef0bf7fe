"""What holds for every bill: monotone amounts, exact explanations, splits and orders that change nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.plans.plan_files import PlanError, parse_plan
from serving.pricing.charges.registry import CHARGE_MODELS
from serving.pricing.modifiers.credit import Credit
from serving.pricing.money import exponent, rounded
from serving.pricing.plan import Plan
from serving.pricing.rate import Invoice, rate
from serving.pricing.usage import Period, UsageRecord

D = Decimal
PERIOD = Period(0, 10**18)
TIERS = [
    {"up_to": 10, "unit_price": "3", "flat_fee": "1"},
    {"up_to": 1000, "unit_price": "2.5"},
    {"up_to": None, "unit_price": "0.1"},
]
PERCENTS = [{"up_to": 100, "rate_percent": "3"}, {"up_to": None, "rate_percent": "1.5", "flat_fee": "2"}]
CHARGES: dict[str, dict[str, Any]] = {
    "per_unit": {"unit_price": "0.0375"},
    "package": {"price": "7", "package_size": "12", "free_units": "5"},
    "graduated": {"tiers": TIERS},
    "volume": {"tiers": TIERS},
    "stair_step": {"tiers": [{"up_to": 10, "flat_fee": "5"}, {"up_to": None, "flat_fee": "9"}]},
    "threshold": {"unit_price": "2", "levels": [{"at": "50", "factor": "1.1"}]},
    "percentage": {"rate_percent": "2.9", "fixed_fee": "0.3", "per_event_min": "0.5", "per_event_max": "40"},
    "graduated_percentage": {"tiers": PERCENTS},
    "dynamic": {"multiplier": "1.25"},
    "matrix": {"unit_price": "1", "cells": [{"operation": "op1", "unit_price": "4"}]},
    "formula": {"expression": "0.5 * m + 0.25 * max(m - 20, 0)"},
    "flat": {"price": "12.50"},
}
FALLS = {"volume"}
"""Models under which more usage may cost less; PRICING calls volume so by its definition."""


def _plan(model: str, currency: str = "USD", **more: Any) -> Plan:
    charge = {"id": "c", "model": model} | CHARGES[model] | more
    if model not in ("flat", "formula"):
        charge["meter"] = "m"
    document = {
        "plan": {"id": "p", "version": 1, "currency": currency},
        "meters": {"m": {"value": "units", "meter": "m"}},
        "charges": [charge],
    }
    return parse_plan(json.dumps(document))


def _usage(values: list[Decimal]) -> list[UsageRecord]:
    return [
        UsageRecord(index, index + 1, "u", f"op{index % 3}", "CUSTOM", "m", {"units": value})
        for index, value in enumerate(values)
    ]


def _precise(bill: Invoice) -> Decimal:
    return sum((line.precise_amount for line in bill.lines), D(0))


AMOUNTS = st.one_of(st.integers(0, 10**6).map(D), st.decimals(0, 10**5, places=4), st.just(D(10**15)))


def test_every_model_is_here() -> None:
    """The properties below are those of every charge model there is."""
    assert set(CHARGES) == set(CHARGE_MODELS)


@pytest.mark.parametrize("model", sorted(set(CHARGES) - FALLS))
@settings(max_examples=10)
@given(st.lists(AMOUNTS, max_size=5), AMOUNTS)
def test_more_usage_never_costs_less(model: str, values: list[Decimal], more: Decimal) -> None:
    """Under every model but volume."""
    assert rate(_plan(model), _usage([*values, more]), PERIOD).total >= rate(_plan(model), _usage(values), PERIOD).total


def test_volume_may_cost_less_for_more() -> None:
    """That is what volume tiers say: at 1001 units all are at the price of the last tier."""
    plan = _plan("volume")
    assert rate(plan, _usage([D(1001)]), PERIOD).total < rate(plan, _usage([D(1000)]), PERIOD).total


@pytest.mark.parametrize("model", sorted(CHARGES))
@settings(max_examples=10)
@given(st.lists(AMOUNTS, max_size=6), st.sampled_from(["USD", "JPY", "KWD"]))
def test_explanations_and_parts_add_up_exactly(model: str, values: list[Decimal], currency: str) -> None:
    """Steps to the unrounded amount, parts to the rounded one, in whole minor units of currencies with 0, 2 and 3."""
    bill = rate(_plan(model, currency, minimum={"amount": "3"}, maximum={"amount": "5000"}), _usage(values), PERIOD)
    unit = D(1).scaleb(-exponent(currency))
    for line in bill.lines:
        assert sum((step.amount for step in line.steps), D(0)) == line.precise_amount
        assert sum(line.parts.values(), D(0)) == line.amount == line.amount.quantize(unit)
    assert bill.total == rounded(_precise(bill), currency)
    assert D(3) <= bill.total <= D(5000)


@settings(max_examples=60)
@given(AMOUNTS)
def test_graduated_is_the_sum_of_its_tiers(quantity: Decimal) -> None:
    """Every unit at the price of its own tier, computed here tier by tier."""
    expected, lower = D(1), D(0)
    for tier in TIERS:
        upper = quantity if tier["up_to"] is None else min(quantity, D(str(tier["up_to"])))
        expected += max(D(0), upper - lower) * D(str(tier["unit_price"]))
        lower = upper
    assert _precise(rate(_plan("graduated"), _usage([quantity]), PERIOD)) == expected


@pytest.mark.parametrize("model", sorted(set(CHARGES) - {"percentage"}))
@settings(max_examples=8)
@given(st.lists(AMOUNTS, min_size=1, max_size=5), st.integers(2, 5))
def test_how_usage_is_cut_into_records_does_not_matter(model: str, values: list[Decimal], cuts: int) -> None:
    """The same usage in more records, in another order, is the same bill to the last digit."""
    whole = _usage(values)
    pieces = []
    for record in whole:
        units = record.quantities["units"]
        piece = (units / cuts).quantize(D("0.0001"), "ROUND_DOWN")
        sizes = [units - (cuts - 1) * piece, *[piece] * (cuts - 1)]
        pieces += [replace(record, quantities={"units": size}) for size in sizes]
    assert rate(_plan(model), pieces[::-1], PERIOD) == rate(_plan(model), whole, PERIOD)


@settings(max_examples=40)
@given(st.lists(AMOUNTS, max_size=5), st.lists(st.decimals(0, 10**6, places=2), max_size=4))
def test_credits_never_go_negative(values: list[Decimal], balances: list[Decimal]) -> None:
    """Neither what is owed nor what is left of a credit falls below zero, and rating again gives the same."""
    credits = [Credit(f"k{index}", balance) for index, balance in enumerate(balances)]
    bill = rate(_plan("graduated"), _usage(values), PERIOD, credits)
    assert bill.total >= 0
    for credit in credits:
        used = -sum(line.amount for line in bill.lines if line.id == f"credit:{credit.id}")
        assert 0 <= used <= credit.balance
    assert rate(_plan("graduated"), _usage(values), PERIOD, credits) == bill


def test_a_million_billion_units_are_exact() -> None:
    """10^15 units at a price with many digits: nothing is lost."""
    bill = rate(_plan("per_unit", unit_price="0.000123456789"), _usage([D(10**15) + D("0.5")]), PERIOD)
    assert bill.lines[0].precise_amount == D("123456789000.0000617283945")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "-1", "-0.000001"])
def test_usage_that_is_no_amount_is_refused(value: str) -> None:
    """Not-a-numbers, infinities and negatives, with the value that was seen."""
    with pytest.raises(ValueError, match="finite and >= 0"):
        _usage([D(value)])


def test_unknown_meters_are_refused() -> None:
    """A charge and a formula name meters that there are."""
    for charge in ('meter: n, model: per_unit, unit_price: "1"', 'model: formula, expression: "n * 2"'):
        with pytest.raises(PlanError, match="unknown meter 'n'"):
            parse_plan(f"plan: {{id: p, version: 1, currency: USD}}\ncharges: [{{id: c, {charge}}}]\n")


def test_a_spend_has_a_floor_and_a_ceiling() -> None:
    """Minimum and maximum of a whole period are lines of their own, after every discount."""
    text = (
        "plan: {id: p, version: 1, currency: USD}\nmeters: {m: {value: units, meter: m}}\n"
        'charges: [{id: c, meter: m, model: per_unit, unit_price: "1"}]\n'
        'minimum: {amount: "20"}\nmaximum: {amount: "50"}\n'
    )
    bills = [rate(parse_plan(text), _usage([D(value)]), PERIOD) for value in (5, 30, 80)]
    assert [[(line.id, line.amount) for line in bill.lines] for bill in bills] == [
        [("c", D(5)), ("minimum", D(15))],
        [("c", D(30))],
        [("c", D(80)), ("maximum", D(-30))],
    ]


def test_a_customers_own_prices_take_the_place_of_the_plans() -> None:
    """Keys of a charge that were agreed differ, others stay; discounts come on top; others pay as before."""
    text = (
        "plan: {id: p, version: 1, currency: USD}\nmeters: {m: {value: units, meter: m}}\n"
        'charges: [{id: c, meter: m, model: per_unit, unit_price: "10", minimum: {amount: "5"}}]\n'
        'overrides: {acme: {charges: {c: {unit_price: "8"}}, discounts: [{id: deal, percent_off: "50"}]}}\n'
    )
    plan = parse_plan(text)
    totals = [rate(plan.of_customer(user), _usage([D(3)]), PERIOD).total for user in ("acme", "globex")]
    assert totals == [D(12), D(30)]
    with pytest.raises(PlanError, match="unknown charge 'd'"):
        parse_plan(text.replace("charges: {c: {unit", "charges: {d: {unit"))
