"""Amounts that other billing systems document are reproduced from plan files, where the examples are at hand."""

from __future__ import annotations

import json
import os
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from serving.plans.plan_files import parse_plan
from serving.pricing.aggregation import NANOSECONDS, Aggregation, Sample
from serving.pricing.charges.flat import Flat
from serving.pricing.factors.service_level import ServiceLevel, credit_line
from serving.pricing.metering import Metered
from serving.pricing.modifiers.credit import Credit
from serving.pricing.money import rounded
from serving.pricing.plan import Charge
from serving.pricing.proration import Share, unused_lines
from serving.pricing.rate import Invoice, charge_lines, rate
from serving.pricing.usage import Period, UsageRecord
from serving.pricing.versions import rate_versions

D = Decimal
BENCH = Path(os.environ.get("METERCAST_BENCH", Path(__file__).resolve().parents[4] / "shared" / "bench"))
FILE = BENCH / "pricing" / "examples.json"
if not FILE.exists():
    pytest.skip(f"no {FILE}; set METERCAST_BENCH to the folder of examples", allow_module_level=True)
VECTORS = json.loads(FILE.read_text())["vectors"]
PERIOD = Period(0, 10**18)
PERCENTAGE_KEYS = {
    "rate_pct": "rate_percent",
    "free_units_per_events": "free_events",
    "free_units_per_total_aggregation": "free_amount",
}
"""Words of other systems -> ours."""


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
    pairs = [(row["up_to"], row["flat_fee"]) if isinstance(row, dict) else row for row in price["tiers"]]
    rows = [{"up_to": bound, "flat_fee": fee} for bound, fee in pairs]
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
            return {"model": "percentage"} | {PERCENTAGE_KEYS.get(k, k): v for k, v in price.items() if v is not None}
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
    before = D(usage.get("previously_billed") or 0)
    amount = _precise(_bill(vector, [*(events or [usage["quantity"]]), *([str(before)] if before else [])])) - before
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
    step = {"round": price["function"], "precision": int(price.get("precision") or 0)}
    charge = {"model": "dynamic", "quantity": [step]}
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


KINDS = {
    "average": "average",
    "avg": "average",
    "count": "count",
    "count_agg": "count",
    "count_unique": "unique_count",
    "unique_count": "unique_count",
    "latest": "latest",
    "max": "max",
    "percentile": "percentile",
    "sum": "sum",
    "time_weighted_average": "time_weighted_average",
    "weighted_sum": "weighted_sum",
}
"""Words of other systems -> ours."""


@pytest.mark.parametrize("vector", _of("aggregation"))
def test_aggregations(vector: dict[str, Any]) -> None:
    """Units of events: numbers, or records of which one property is counted."""
    price = vector["price"]
    kind = KINDS[price["aggregation"].lower()]
    events = vector["usage"].get("events", vector["usage"].get("values", []))
    samples = [_sample(index, event, price.get("field")) for index, event in enumerate(events)]
    how = Aggregation(kind, of="entity" if kind == "unique_count" else "")
    assert how.quantity(samples, PERIOD) == D(vector["expected"]["units"])


def _sample(index: int, event: Any, field: str | None) -> Sample:
    """A number, or a record: the named property, or the first number and the first text."""
    if not isinstance(event, dict):
        return Sample(index, D(str(event)), entity=str(event))
    numbers = [one for one in event.values() if not isinstance(one, str)] or [
        one for one in event.values() if _is_number(one)
    ]
    texts = [one for one in event.values() if isinstance(one, str)]
    value = event[field] if field and _is_number(str(event.get(field))) else next(iter(numbers), 1)
    entity = event.get(field) if field else next(iter(texts), "")
    return Sample(index, D(str(value)), entity=str(entity))


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdigit()


@pytest.mark.parametrize("vector", _of("bucketed_max"))
def test_maxima_by_bucket(vector: dict[str, Any]) -> None:
    """The highest of every bucket and group, added up."""
    lengths = {"MINUTE": 60, "HOUR": 3600, "DAY": 86_400}
    length = lengths[vector["price"]["bucket"]]
    grouped = (vector["price"]["group_by"],) if vector["price"].get("group_by") else ()
    samples = [
        Sample(index * length * NANOSECONDS, D(value), group=(name,) if grouped else ())
        for index, bucket in enumerate(vector["usage"]["buckets"])
        for name, value in (bucket.items() if isinstance(bucket, dict) else enumerate(bucket))
    ]
    how = Aggregation("max", bucket_s=length, group_by=grouped)
    assert how.quantity(samples, PERIOD) == D(vector["expected"]["units"])


@pytest.mark.parametrize("vector", _of("percentage_totals"))
def test_percentages_of_totals(vector: dict[str, Any]) -> None:
    """Free units and free events that do not end each other: a percentage after free units, a fee after free events."""
    usage, price = vector["usage"], vector["price"]
    count, units = int(usage["count"]), D(usage["units"])
    document = {
        "plan": {"id": "p", "version": 1, "currency": "USD"},
        "meters": {
            "value": {"value": "units", "meter": "m"},
            "events": {"value": "units", "meter": "m", "aggregation": "count"},
        },
        "charges": [
            {"id": "share", "meter": "value", "model": "percentage", "rate_percent": price["rate_pct"]}
            | ({"free_amount": usage["free_units"]} if D(usage.get("free_units") or 0) else {}),
            {
                "id": "fee",
                "meter": "events",
                "model": "per_unit",
                "unit_price": price["fixed_fee"],
                "quantity": [{"free": str(usage.get("free_events") or 0)}],
            },
        ],
    }
    records = [UsageRecord(i, i + 1, "u", "o", "CUSTOM", "m", {"units": units / count}) for i in range(count)]
    bill = rate(parse_plan(json.dumps(document)), records, PERIOD)
    assert _precise(bill) == D(vector["expected"]["amount"])


@pytest.mark.parametrize("vector", _of("sum_of_standard"))
def test_sums_of_charges(vector: dict[str, Any]) -> None:
    """Several meters at a price each, as a formula over meters."""
    price, usage = vector["price"], vector["usage"]
    names = [f"m{index}" for index in range(len(price["per_million"]))]
    document = {
        "plan": {"id": "p", "version": 1, "currency": "USD"},
        "meters": {name: {"value": "units / 1e6", "meter": name} for name in names},
        "charges": [
            {
                "id": "c",
                "model": "formula",
                "expression": " + ".join(
                    f"{cost} * {name}" for cost, name in zip(price["per_million"], names, strict=True)
                ),
            }
        ],
    }
    records = [
        UsageRecord(0, 1, "u", "o", "CUSTOM", name, {"units": D(millions) * 10**6})
        for name, millions in zip(names, usage["millions"], strict=True)
    ]
    assert rate(parse_plan(json.dumps(document)), records, PERIOD).total == D(vector["expected"]["amount"])


@pytest.mark.parametrize("vector", _of("effective_dated_rate"))
def test_rates_by_date(vector: dict[str, Any]) -> None:
    """The version in force when the event happened prices it."""
    versions = []
    for number, terms in enumerate(vector["price"]["rates"], start=1):
        document = {
            "plan": {
                "id": "p",
                "version": number,
                "currency": "USD",
                "effective_from": terms["from"] or "1970-01-01T00:00:00Z",
            },
            "meters": {name: {"value": "units / 1e6", "meter": name} for name in ("in", "out")},
            "charges": [
                {"id": name, "meter": name, "model": "per_unit", "unit_price": terms[f"{name}_per_m"]}
                for name in ("in", "out")
            ],
        }
        versions.append(parse_plan(json.dumps(document)))
    at_ns = int(datetime.fromisoformat(vector["usage"]["time"]).timestamp()) * NANOSECONDS
    records = [
        UsageRecord(at_ns, at_ns + 1, "u", "o", "CUSTOM", name, {"units": D(vector["usage"][f"{word}_tokens"])})
        for name, word in (("in", "input"), ("out", "output"))
    ]
    day = 86_400 * NANOSECONDS
    bill = rate_versions(versions, records, Period(at_ns - 30 * day, at_ns + 30 * day))
    precise = sum((line.precise_amount for line in bill.lines), D(0))
    assert precise.quantize(D(vector["expected"]["amount"])) == D(vector["expected"]["amount"])


@pytest.mark.parametrize("vector", _of("proration_change"))
def test_changes_of_a_fee_in_advance(vector: dict[str, Any]) -> None:
    """What is unused of the old fee comes back, what is left of the period is charged, each rounded for itself."""
    usage = vector["usage"]
    rest = Share(D(usage["days_remaining"]) / D(usage["days_in_period"]))
    old, new = (
        Charge("fee", "Fee", None, Flat(D(vector["price"][name]), due="advance")) for name in ("old_price", "new_price")
    )
    lines = [*unused_lines([old], rest, "USD"), *charge_lines(new, Metered(), "USD", rest)]
    assert sum(line.amount for line in lines) == D(vector["expected"]["net"])


@pytest.mark.parametrize("vector", _of("sla_credit"))
def test_service_level_credits(vector: dict[str, Any]) -> None:
    """Below the target, the lowest bound missed gives the percent; the last tier has no bound below it."""
    price, usage = vector["price"], vector["usage"]
    bounds = [D(price["target"]), *(D(bound) for bound, _ in price["tiers"] if bound is not None)]
    steps = tuple(zip(bounds, (D(percent) for _, percent in price["tiers"]), strict=False))
    bill = _bill(vector | {"expected": {"currency": "USD"}}, [usage["fee"]], {"model": "dynamic"})
    line = credit_line(ServiceLevel("sla", credits=steps), bill, D(usage["uptime_pct"]), [])
    assert -(line.amount if line else D(0)) == D(vector["expected"]["credit"])


@pytest.mark.parametrize("vector", _of("waterfall"))
def test_waterfalls(vector: dict[str, Any]) -> None:
    """A segment's own price takes the place of the base price, then a factor: each stands in the explanation."""
    price = vector["price"]
    document = {
        "plan": {"id": "p", "version": 1, "currency": "USD"},
        "meters": {"m": {"value": "units", "meter": "m"}},
        "charges": [
            {"id": "c", "meter": "m", "model": "per_unit", "unit_price": price["base_price"], "modifiers": ["uplift"]}
        ],
        "sla": {"uplift": {"factor": price["factor"]}},
        "overrides": {"u": {"charges": {"c": {"unit_price": price["segment_price"]}}}},
    }
    plan = parse_plan(json.dumps(document)).of_customer("u")
    quantity = D(vector["usage"]["quantity"])
    bill = rate(plan, [UsageRecord(0, 1, "u", "o", "CUSTOM", "m", {"units": quantity})], PERIOD)
    expected = vector["expected"]["waterfall"]
    assert bill.total == D(expected["extended_price"])
    assert bill.total / quantity == D(expected["adjusted_price"])
    assert [line.id for line in bill.lines] == ["c", "c:uplift"]


@pytest.mark.parametrize("vector", _of("invoice_order"))
def test_the_order_on_an_invoice(vector: dict[str, Any]) -> None:
    """Discounts of a line, of the invoice, then credits, which do not reduce what is taxed."""
    price, wanted = vector["price"], vector["expected"]["invoice"]
    charges = [
        {"id": f"c{index}", "model": "flat", "price": amount}
        | ({"discounts": [{"id": "line", "percent_off": price["line_coupon_pct"]}]} if coupon else {})
        for index, (_, amount, coupon) in enumerate(vector["usage"]["lines"])
    ]
    document = {
        "plan": {"id": "p", "version": 1, "currency": "USD"},
        "charges": charges,
        "discounts": [{"id": "subscription", "amount_off": price["subscription_coupon_amount"]}],
    }
    bill = rate(parse_plan(json.dumps(document)), [], PERIOD, credits=[Credit("wallet", D(price["wallet_credits"]))])
    taxable = sum(bill.taxable().values())
    tax = rounded(taxable * D(price["tax_pct"]) / 100, "USD")
    subtotal = sum(line.amount for line in bill.lines if line.kind == "usage")
    found = {"subtotal": subtotal, "taxable": taxable, "tax": tax, "total": bill.total + tax}
    assert found == {name: D(value) for name, value in wanted.items()}


def test_every_example_is_reproduced() -> None:
    """No kind of example in the file is left out by the tests above."""
    text = Path(__file__).read_text(encoding="utf-8")
    assert not {vector["model"] for vector in VECTORS if f'"{vector["model"]}"' not in text}
