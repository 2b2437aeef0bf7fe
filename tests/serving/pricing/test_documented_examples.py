"""Amounts that other billing systems document are reproduced from plan files, where the examples are at hand."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from serving.plan_files import parse_plan
from serving.pricing.money import rounded
from serving.pricing.rate import Invoice, rate
from serving.pricing.usage import Period, UsageRecord

D = Decimal
BENCH = Path(os.environ.get("METERCAST_BENCH", Path(__file__).resolve().parents[4] / "shared" / "bench"))
FILE = BENCH / "pricing" / "examples.json"
if not FILE.exists():
    pytest.skip(f"no {FILE}; set METERCAST_BENCH to the folder of examples", allow_module_level=True)
VECTORS = json.loads(FILE.read_text())["vectors"]
PERIOD = Period(0, 10**18)


def _commitment(price: dict[str, Any]) -> dict[str, Any]:
    terms = {"overage_factor": price["overage_factor"], "true_up": price["true_up"]}
    key = "quantity" if "commitment_quantity" in price else "amount"
    return {
        "model": "per_unit",
        "unit_price": price["unit_price"],
        "commitment": terms | {key: price[f"commitment_{key}"]},
    }


def _package(vector: dict[str, Any]) -> dict[str, Any]:
    price = vector["price"]
    least = {"minimum_packages": 1} if "minimum of one package" in vector["note"] else {}
    free = price.get("free_units", "0")
    return {
        "model": "package",
        "price": price["amount"],
        "package_size": price["package_size"],
        "free_units": free,
    } | least


def _steps(price: dict[str, Any]) -> dict[str, Any]:
    rows = [{"up_to": bound, "flat_fee": fee} for bound, fee in price["tiers"]]
    return {"model": "stair_step", "tiers": [*rows[:-1], rows[-1] | {"up_to": None}]}


def _charge(vector: dict[str, Any]) -> dict[str, Any]:
    """The charge of our plan file that says what a documented price says."""
    price, model = vector["price"], vector["model"]
    match model:
        case "standard":
            return {"model": "per_unit", "unit_price": price["unit_price"]}
        case "package" | "package_progressive":
            return _package(vector)
        case "graduated" | "volume" | "graduated_percentage":
            rows = [{"rate_percent" if k == "rate_pct" else k: v for k, v in row.items()} for row in price["tiers"]]
            return {"model": model, "tiers": rows}
        case "stairstep":
            return _steps(price)
        case "rate_threshold":
            levels = [{"at": at, "factor": factor} for at, factor in price["thresholds"]]
            return {"model": "threshold", "unit_price": price["unit_price"], "levels": levels}
        case "percentage":
            return {"model": "percentage"} | {"rate_percent" if k == "rate_pct" else k: v for k, v in price.items()}
        case "commitment" | "commitment_windowed" | "time_bucket_commitment":
            return _commitment(price)
        case "dynamic_multiplier" | "sum_multiplier":
            return {"model": "dynamic", "multiplier": price["multiplier"]}
        case "dynamic":
            return {"model": "dynamic", "multiplier": "0.01"}
        case "min_spend":
            return {"model": "dynamic", "multiplier": price["multiplier"], "minimum": {"amount": price["min_amount"]}}
        case "minimum_true_up":
            return {"model": "dynamic", "minimum": {"amount": price["min_amount"]}}
    raise AssertionError(f"no adapter for {model}")


def _bill(vector: dict[str, Any], values: list[str], charge: dict[str, Any] | None = None, share: str = "1") -> Invoice:
    charge = charge or _charge(vector)
    currency = vector["expected"].get("currency") or "USD"
    document = {
        "plan": {"id": "p", "version": 1, "currency": currency},
        "meters": {"m": {"value": "units", "meter": "m"}},
        "charges": [{"id": "c", "meter": "m"} | charge],
    }
    usage = [UsageRecord(i, i + 1, "u", "o", "CUSTOM", "m", {"units": D(value)}) for i, value in enumerate(values)]
    return rate(parse_plan(json.dumps(document)), usage, PERIOD, share=D(share))


def _precise(invoice: Invoice) -> Decimal:
    return sum((line.precise_amount for line in invoice.lines), D(0))


def _of(*models: str) -> list[Any]:
    return [pytest.param(v, id=v["id"]) for v in VECTORS if v["model"] in models]


@pytest.mark.parametrize(
    "vector",
    _of(
        *("standard", "package", "graduated", "volume", "stairstep", "rate_threshold", "commitment", "min_spend"),
        *("time_bucket_commitment", "dynamic_multiplier", "percentage", "dynamic", "sum_multiplier"),
    ),
)
def test_amount_of_a_quantity(vector: dict[str, Any]) -> None:
    """The documented amount, before rounding where the document does not round."""
    usage = vector["usage"]
    events = usage.get("events", usage.get("precise_total_amount_cents"))
    if vector["model"] == "sum_multiplier":
        events = list(dict(usage["events"]).values())
    amount = _precise(_bill(vector, events or [usage["quantity"]]))
    expected = D(vector["expected"]["amount"])
    assert amount == expected or rounded(amount, vector["expected"]["currency"] or "USD") == expected


@pytest.mark.parametrize("vector", _of("graduated_percentage"))
def test_graduated_percentages(vector: dict[str, Any]) -> None:
    """The documented total, and what each event adds to it."""
    if "quantity" in vector["usage"]:
        assert _precise(_bill(vector, [vector["usage"]["quantity"]])) == D(vector["expected"]["amount"])
        return
    values, before = vector["usage"]["events"], D(0)
    for count, increment in enumerate(vector["expected"]["increments"], start=1):
        after = _bill(vector, values[:count]).total
        assert after - before == D(increment)
        before = after


@pytest.mark.parametrize("vector", _of("minimum_true_up"))
def test_true_ups(vector: dict[str, Any]) -> None:
    """The true-up is a line of its own, prorated with the period."""
    days, whole = vector["price"].get("prorate", ["1", "1"])
    bill = _bill(vector, [vector["usage"]["usage_amount"]], share=str(D(days) / D(whole)))
    assert bill.lines[1].amount == D(vector["expected"]["true_up"])


@pytest.mark.parametrize("vector", _of("commitment_windowed"))
def test_commitments_by_window(vector: dict[str, Any]) -> None:
    """Every window is a period of its own."""
    assert [_bill(vector, [value]).total for value in vector["usage"]["windows"]] == [
        D(value) for value in vector["expected"]["per_window"]
    ]


@pytest.mark.parametrize("vector", _of("package_progressive"))
def test_later_usage_of_a_package(vector: dict[str, Any]) -> None:
    """What usage adds to the bill is the difference of two ratings."""
    before = D(vector["usage"]["previous_quantity"])
    after = before + D(vector["usage"]["quantity"])
    bills = [_bill(vector, [str(quantity)]).total for quantity in (before, after)]
    assert bills[1] - bills[0] == D(vector["expected"]["amount"])


@pytest.mark.parametrize("vector", _of("blocks_all_tiers", "blocks_top_tier"))
def test_blocks(vector: dict[str, Any]) -> None:
    """Tiers count blocks, all tiers graduated or the top tier for all."""
    model = "graduated" if vector["model"] == "blocks_all_tiers" else "volume"
    total = D(0)
    for name, terms in vector["price"]["unit_types"].items():
        bounds = [bound for bound, _ in terms["tiers"]]
        tiers = [
            {"up_to": bound, "unit_price": price} for bound, (_, price) in zip(bounds, terms["tiers"], strict=True)
        ]
        charge = {"model": model, "tiers": tiers, "quantity": [{"blocks_of": terms["block_size"]}]}
        total += _bill(vector, [vector["usage"][name]], charge).total
    assert total == D(vector["expected"]["amount"])


@pytest.mark.parametrize("vector", _of("metric_rounding"))
def test_rounded_quantities(vector: dict[str, Any]) -> None:
    """A quantity is rounded before it is priced."""
    price = vector["price"]
    charge = {"model": "dynamic", "quantity": [{"round": price["function"], "precision": price["precision"]}]}
    assert _bill(vector, [vector["usage"]["value"]], charge).lines[0].quantity == D(vector["expected"]["units"])


@pytest.mark.parametrize("vector", _of("package_quantity"))
def test_packaged_quantities(vector: dict[str, Any]) -> None:
    """Whole packages are billed."""
    size = vector["price"]["package_size"]
    charge = {"model": "dynamic", "quantity": [{"blocks_of": size}]}
    blocks = _bill(vector, [vector["usage"]["quantity"]], charge).lines[0].quantity
    assert blocks * D(size) == D(vector["expected"]["billed_quantity"])


@pytest.mark.parametrize("vector", _of("currency_rounding"))
def test_rounding(vector: dict[str, Any]) -> None:
    """Half away from zero in the currency's unit."""
    assert _bill(vector, [vector["usage"]["amount"]], {"model": "dynamic"}).total == D(vector["expected"]["amount"])


@pytest.mark.parametrize("vector", _of("percentage_discount", "coupon_chain"))
def test_discounts(vector: dict[str, Any]) -> None:
    """Percentages come off one after the other."""
    price = vector["price"]
    percents = price.get("coupons_pct") or [price["percent_off"]]
    discounts = [{"id": str(index), "percent_off": percent} for index, percent in enumerate(percents)]
    value = vector["usage"].get("subtotal") or vector["usage"]["amount"]
    bill = _bill(vector, [value], {"model": "dynamic", "discounts": discounts})
    expected = vector["expected"]
    assert (
        -bill.lines[1].amount == D(expected["discount"])
        if "discount" in expected
        else bill.total == D(expected["amount"])
    )
