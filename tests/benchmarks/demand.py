"""The demand controller on real load: does it oscillate, and what become of revenue and bills under four tariffs.

The load is VM starts by tenant over 30 days (5-minute intervals) and token requests over an hour (10-second intervals)
from METERCAST_BENCH/traces. Its capacity puts the median load of the first quarter of each at the controller's
target, so that an ordinary load costs the list price and nothing later is looked at.
``elasticity`` is how customers answer: the share of usage that they drop for each 1 % of price rise, and with a delay.
An oscillation would show as price steps that change direction more often than the load itself, and as more of them the
more customers answer.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from serving.pricing.factors.demand import Demand, DemandState, next_price
from serving.pricing.factors.schedule import DAYS

ROOT = Path(__file__).resolve().parents[2]
ANSWERS = (0.0, 0.3, 1.0, 3.0)
DELAY = 2
"""Intervals until customers answer a price."""
Array = NDArray[np.float64]
NANOSECONDS = 1_000_000_000


def main() -> int:
    """Print one JSON object a line; 0 where there is nothing to run on."""
    traces = Path(os.environ.get("METERCAST_BENCH", ROOT.parent / "shared" / "bench")) / "traces"
    if not traces.is_dir():
        print(f"skipped: no data in {traces}; set METERCAST_BENCH")
        return 0
    for name, usage, interval_s in _traces(traces):
        for answer in ANSWERS:
            print(json.dumps({"trace": name} | _controlled(usage, interval_s, answer)), flush=True)
        for row in _tariffs(usage, interval_s):
            print(json.dumps({"trace": name} | row), flush=True)
    return 0


def _traces(directory: Path) -> Iterator[tuple[str, Array, int]]:
    """(name, usage (customers, intervals), seconds of an interval)."""
    starts = pl.read_parquet(directory / "azurevm_arrivals" / "azvm_events.parquet")
    yield (
        "VM starts",
        _grid(starts["ts_s"].to_numpy(), starts["batch"].to_numpy(), starts["count"].to_numpy(), 300),
        300,
    )
    tokens = pl.concat(
        pl.read_parquet(directory / "azure_llm2023" / f"azure_llm_{kind}.parquet") for kind in ("code", "conv")
    )
    at = tokens["TIMESTAMP"].dt.epoch("us").to_numpy() / 1e6
    kinds = tokens["service"].to_numpy()
    used = (tokens["ContextTokens"] + tokens["GeneratedTokens"]).to_numpy()
    yield "LLM tokens", _grid(at - at.min(), kinds, used, 10), 10
    chats = pl.read_parquet(directory / "mooncake" / "conversation.parquet")
    size = (chats["input_length"] + chats["output_length"]).to_numpy()
    yield "conversations", _grid(chats["ts_ms"].to_numpy() / 1e3, np.zeros(len(size)), size, 10), 10


def _grid(at_s: Array, who: Array, amount: Array, interval_s: int) -> Array:
    names, rows = np.unique(who, return_inverse=True)
    columns = (at_s // interval_s).astype(np.int64)
    usage = np.zeros((len(names), int(columns.max()) + 1))
    np.add.at(usage, (rows, columns), amount)
    return usage


def _rules(interval_s: int) -> Demand:
    """The rules of the shipped plan, in intervals of the trace."""
    return Demand(
        "load",
        "system",
        target=Decimal("0.70"),
        elasticity=Decimal("0.8"),
        floor=Decimal("0.80"),
        cap=Decimal("1.50"),
        half_life_s=3 * interval_s,
        max_step=Decimal("0.05"),
        interval_s=interval_s,
        lead_s=interval_s,
        stale_after_s=3 * interval_s,
    )


def _prices(usage: Array, interval_s: int, answer: float) -> tuple[Array, Array]:
    """(price in force, usage after customers answered) interval by interval, by the published step itself."""
    rules = _rules(interval_s)
    whole = usage.sum(axis=0)
    capacity = float(np.median(whole[: max(1, len(whole) // 4)])) / float(rules.target) or 1.0
    state, prices, used = DemandState(rules.target), np.ones(len(whole) + 2), np.zeros(len(whole))
    for index, amount in enumerate(whole):
        felt = prices[max(0, index - DELAY)]
        used[index] = amount * max(0.0, 1.0 - answer * (felt - 1.0))
        load = Decimal(f"{used[index] / capacity:.6f}")
        state, price = next_price(rules, state, load, index * interval_s * NANOSECONDS)
        prices[index + 2] = float(price.factor)  # measured at the interval's end, in force after one of lead
    return prices[: len(whole)], used


def _controlled(usage: Array, interval_s: int, answer: float) -> dict[str, object]:
    prices, used = _prices(usage, interval_s, answer)
    smooth = _smoothed(usage.sum(axis=0))
    return {
        "customers_answer": answer,
        "intervals": len(prices),
        "mean_price": round(float(prices.mean()), 4),
        "price_range": [round(float(prices.min()), 4), round(float(prices.max()), 4)],
        "largest_step": round(float(np.abs(np.diff(prices)).max()), 4),
        "turns_per_100": _turns(prices),
        "turns_per_100_of_smoothed_load": _turns(smooth),
        "alternating_steps_share": _alternating(prices),
        "peak_load_change_percent": round(
            100 * float(np.quantile(used, 0.99) / np.quantile(usage.sum(axis=0), 0.99) - 1), 2
        ),
    }


def _smoothed(load: Array) -> Array:
    weight, level, out = 1 - 2.0 ** (-1 / 3), load[0], np.empty(len(load))
    for index, value in enumerate(load):
        level += weight * (value - level)
        out[index] = level
    return out


def _turns(values: Array) -> float:
    """How often the direction changes in 100 intervals, flat stretches aside."""
    steps = np.sign(np.diff(values))
    steps = steps[steps != 0]
    return round(100 * float((steps[1:] != steps[:-1]).sum()) / max(1, len(values)), 2)


def _alternating(prices: Array) -> float:
    """Share of steps that undo the one before by a full step: what an unstable controller does all the time."""
    steps = np.diff(prices)
    full = np.abs(steps) >= 0.0499
    undone = full[1:] & full[:-1] & (np.sign(steps[1:]) != np.sign(steps[:-1]))
    return round(float(undone.mean()), 4) if len(undone) else 0.0


def _tariffs(usage: Array, interval_s: int) -> Iterator[dict[str, object]]:
    """Revenue and customers' bills, customers answering 0.3 for 1, against flat prices."""
    answer = 0.3
    flat = usage.sum(axis=1)
    at_s = np.arange(usage.shape[1]) * interval_s
    day, hour = (at_s // 86_400) % len(DAYS[:7]), (at_s // 3_600) % 24
    office = np.where((day < 5) & (hour >= 9) & (hour < 17), 1.25, np.where((hour >= 22) | (hour < 6), 0.8, 1.0))
    demand, _ = _prices(usage, interval_s, answer)
    kinds = {
        "flat": np.ones(usage.shape[1]),
        "time of use": office,
        "surge": demand,
        "time of use and surge": np.clip(office * demand, 0.7, 1.8),
    }
    for name, prices in kinds.items():
        felt = np.concatenate([np.ones(DELAY), prices[:-DELAY]])
        used = usage * np.maximum(0.0, 1.0 - answer * (felt - 1.0))
        bills = (used * prices).sum(axis=1)
        change = 100 * (bills[flat > 0] / flat[flat > 0] - 1)
        yield {
            "tariff": name,
            "revenue_percent_of_flat": round(100 * float(bills.sum() / flat.sum()), 2),
            "usage_percent_of_flat": round(100 * float(used.sum() / flat.sum()), 2),
            "bill_change_percent": {
                f"p{level}": round(float(np.quantile(change, level / 100)), 2) for level in (5, 50, 95)
            },
        }


if __name__ == "__main__":
    sys.exit(main())
