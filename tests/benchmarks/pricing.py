"""Speed of rating beside a plain Decimal loop and floats in numpy, and how far each is from exact arithmetic."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.plans.plan_files import parse_plan
from serving.pricing.paths import UsageColumn, rate_paths
from serving.pricing.plan import Plan
from serving.pricing.rate import rate
from serving.pricing.usage import Period, UsageRecord

PATHS, SERIES, ROUNDS = 1_000, 200, 5
CENT = Decimal("0.01")
MICROS = ("CPU_INSTRUCTION", "DISK_READ", "DISK_WRITE", "NETWORK_SEND")
GRADUATED = """
plan: {id: graduated, version: 1, currency: USD}
meters: {gb: {value: diskBytes / 1e9}}
charges:
  - id: disk
    meter: gb
    model: graduated
    tiers:
      - {up_to: 100, unit_price: "0.1037"}
      - {up_to: 1000, unit_price: "0.0811"}
      - {up_to: null, unit_price: "0.0533"}
"""
TARIFF = """
plan: {id: tariff, version: 1, currency: USD}
meters:
  cpu: {microOperationType: [CPU_INSTRUCTION], value: diskBytes / 1e9}
  read: {microOperationType: [DISK_READ], value: diskBytes / 1e9}
  write: {microOperationType: [DISK_WRITE], value: diskBytes / 1e9}
  send: {microOperationType: [NETWORK_SEND], value: diskBytes / 1e9}
charges:
  - {id: cpu, meter: cpu, model: per_unit, unit_price: "0.0301"}
  - {id: read, meter: read, model: per_unit, unit_price: "0.0107", minimum: {amount: "0.50"}}
  - {id: write, meter: write, model: package, price: "0.35", package_size: "7"}
  - {id: send, meter: send, model: volume, tiers: [{up_to: 500, unit_price: "0.09"}, {up_to: null, unit_price: "0.07"}]}
"""


def main() -> int:
    """Print one JSON object a line; times are CPU time of the best of some interleaved rounds."""
    usage = np.rint(np.random.default_rng(5).lognormal(21.5, 1.2, size=(PATHS, SERIES)))
    columns = [UsageColumn(f"op{index // 4}", MICROS[index % 4], "disk_bytes") for index in range(SERIES)]
    graduated, tariff = parse_plan(GRADUATED), parse_plan(TARIFF)
    exact = _decimal_loop(graduated, usage)
    ways: dict[str, Callable[[], Any]] = {
        "metercast": lambda: rate_paths(graduated, columns, usage),
        "Decimal loop": lambda: _decimal_loop(graduated, usage),
        "numpy float": lambda: _floats(graduated, usage),
    }
    best = _timed(ways)
    totals = {
        "metercast": ways["metercast"]().totals,
        "Decimal loop": exact,
        "numpy float": [Decimal(repr(value)) for value in np.round(ways["numpy float"](), 2).tolist()],
    }
    ours = rate_paths(graduated, columns, usage)
    for way, seconds in best.items():
        gap = max(abs(a - b) for a, b in zip(totals[way], exact, strict=True))
        print(
            json.dumps(
                {
                    "what": f"{PATHS} paths x {SERIES} series x graduated",
                    "way": way,
                    "cpu_ms": round(1e3 * seconds, 1),
                    "paths_per_s": round(PATHS / seconds),
                    "times_the_decimal_loop": round(best["Decimal loop"] / seconds, 2),
                    "split_by_operation": way == "metercast",
                    "largest_difference": str(gap.normalize() if gap else 0),
                }
            )
        )
    parts = sum((sum(values, Decimal(0)) for values in ours.parts.values()), Decimal(0))
    print(json.dumps({"what": "parts of all paths less their totals", "difference": str(parts - sum(ours.totals))}))
    _tariffs(tariff, columns, usage)
    _lines(tariff)
    return 0


def _timed(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for way, run in ways.items():
            started = time.process_time()
            run()
            best[way] = min(best.get(way, np.inf), time.process_time() - started)
    return best


def _decimal_loop(plan: Plan, usage: NDArray[np.float64]) -> list[Decimal]:
    """What a program would write first: every number a Decimal, every tier a step; totals only, no split."""
    tiers = [
        (Decimal("Infinity") if tier.up_to is None else tier.up_to, tier.unit_price)
        for tier in plan.charges[0].model.tiers  # type: ignore[attr-defined]
    ]
    totals = []
    for row in usage.tolist():
        quantity = sum((Decimal(value) / 1_000_000_000 for value in row), Decimal(0))
        amount, lower = Decimal(0), Decimal(0)
        for upper, price in tiers:
            if quantity > lower:
                amount += (min(quantity, upper) - lower) * price
            lower = upper
        totals.append(amount.quantize(CENT, ROUND_HALF_UP))
    return totals


def _floats(plan: Plan, usage: NDArray[np.float64]) -> NDArray[np.float64]:
    quantity = usage.sum(axis=1) / 1e9
    amount, lower = np.zeros(len(usage)), 0.0
    for tier in plan.charges[0].model.tiers:  # type: ignore[attr-defined]
        upper = np.inf if tier.up_to is None else float(tier.up_to)
        amount += np.clip(quantity - lower, 0, upper - lower) * float(tier.unit_price)
        lower = upper
    return amount


def _tariffs(plan: Plan, columns: list[UsageColumn], usage: NDArray[np.float64]) -> None:
    """A plan of four models; beside it, every path as an invoice of its own."""
    few = usage[:50]
    best = _timed(
        {"metercast": lambda: rate_paths(plan, columns, usage), "invoices": lambda: _invoices(plan, columns, few)}
    )
    ours = rate_paths(plan, columns, few).totals
    gap = max(abs(a - b) for a, b in zip(ours, _invoices(plan, columns, few), strict=True))
    each = best["invoices"] / len(few)
    row = {
        "what": f"{PATHS} paths x {SERIES} series x tariff of 4 models",
        "cpu_ms": round(1e3 * best["metercast"], 1),
        "paths_per_s": round(PATHS / best["metercast"]),
        "times_one_invoice_a_path": round(each * PATHS / best["metercast"], 1),
        "largest_difference": str(gap.normalize() if gap else 0),
    }
    print(json.dumps(row))


def _invoices(plan: Plan, columns: list[UsageColumn], usage: NDArray[np.float64]) -> list[Decimal]:
    kinds = [(column.operation_id, column.micro_operation_type) for column in columns]
    return [
        rate(plan, [_record(0, kind, value) for kind, value in zip(kinds, row, strict=True)], Period(0, 10)).total
        for row in usage.tolist()
    ]


def _record(at: int, kind: tuple[str, str], size: float) -> UsageRecord:
    return UsageRecord(at, at + 1, "u", *kind, "", {"diskBytes": Decimal(size)})


def _lines(plan: Plan) -> None:
    """Explained invoice lines a second, from 200 records each."""
    records = [_record(n, (f"op{n % 50}", MICROS[n % 4]), 10**9 + n) for n in range(SERIES)]
    bills = 50
    best = _timed({"rate": lambda: [rate(plan, records, Period(0, 10**6)) for _ in range(bills)]})["rate"]
    lines = len(rate(plan, records, Period(0, 10**6)).lines) * bills
    rates = {"lines_per_s": round(lines / best), "records_per_s": round(bills * SERIES / best)}
    print(json.dumps({"what": f"explained invoices of {SERIES} records"} | rates))


if __name__ == "__main__":
    sys.exit(main())
