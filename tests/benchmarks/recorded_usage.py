"""Recorded usage for the injection suite: of recorded traces of language model requests, and of the demo's own shop.

Starts of virtual machines, five minutes by five minutes over 30 days, say how often each user calls each operation.
Each call uses what the next recorded one used, around and around: a request of a trace, or one that the profiler
metered in the demo's shop under the demo's load.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

from features.windows import SCHEMA
from serving.alerts.intensity import LOT, MAIN_RESOURCE, Price
from serving.demo.job import ROOT, SHOP
from serving.demo.load import CUSTOMERS, Load
from serving.demo.processes import metercast
from serving.plans.plan_files import load_plans
from serving.platform import excess_price

WINDOW_S, DAY = 300, 288
USERS = ("ada", "ben", "cem", "dee", "eva")
MOST_CALLS = 20
"""Starts of machines of one flavour in a window that count."""

Usage = dict[str, np.ndarray]
"""`runs`, and the total of each micro-operation's resource: arrays (windows, users, operations)."""

TRACE_RATES = {"cpu_cycles": 2e-12, "execution_time_ms": 1e-6, "network_bytes": 9e-8}
"""USD a unit; with them CPU, GPU and network each cost something like a third."""


@dataclass(frozen=True)
class Recording:
    """Who called what and what it used; ``micros`` names the resource by which each micro-operation is judged."""

    users: tuple[str, ...]
    operations: tuple[str, ...]
    micros: Mapping[str, str]
    price: Price
    usage: Usage

    def spend(self, usage: Usage, prices: Mapping[str, float] | None = None) -> np.ndarray:
        """Money, (micro-operations, windows, users, operations), with the prices of some resources multiplied."""
        factors = prices or {}
        parts = []
        for micro, resource in self.micros.items():
            rate = float(self.price(self.operations[0], {(micro, resource): LOT})[0]) / LOT
            parts.append(usage[micro] * rate * factors.get(resource, 1.0))
        return np.stack(parts)

    def dearer(self, factors: Mapping[str, float] | None) -> Price:
        """The price function with some resources' prices multiplied."""
        times = factors or {}

        def priced(operation: str, excess: Mapping[tuple[str, str], float]) -> tuple[Decimal, str]:
            return self.price(operation, {key: value * times.get(key[1], 1.0) for key, value in excess.items()})

        return priced

    def frames(self, usage: Usage, start: int, stop: int) -> list[pl.DataFrame]:
        """One frame of closed windows a window, as the engine hands them to its hook."""
        at, user, operation = np.nonzero(usage["runs"][start:stop])
        at = at + start
        where = (at, user, operation)
        base = {"window_start": at * WINDOW_S * 1_000_000_000, "user_id": np.array(self.users)[user]}
        base["operation_id"] = np.array(self.operations)[operation]
        runs = {"micro_operation_type": "CPU_INSTRUCTION", "meter": "executions", "units": usage["runs"][where]}
        rows = [pl.DataFrame(base | runs)]
        for name, resource in self.micros.items():
            kind = pl.Float64 if resource == "execution_time_ms" else pl.Int64
            part = pl.DataFrame(base | {"micro_operation_type": name, "meter": ""})
            rows.append(part.with_columns(pl.Series(resource, usage[name][where]).cast(kind)))
        whole = pl.concat(rows, how="diagonal").with_columns(pl.lit(1).alias("events"))
        missing = [pl.lit(0).alias(name) for name in SCHEMA if name not in whole.columns]
        whole = whole.with_columns(missing).fill_null(0)
        whole = whole.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).sort("window_start")
        return whole.partition_by("window_start", maintain_order=True)


def of_traces(bench: Path) -> Recording:
    """Three operations that ask language models."""
    operations = ("chat", "code", "conversation")
    traces = (
        pl.read_parquet(bench / "mooncake" / "conversation.parquet").select("input_length", "output_length"),
        pl.read_parquet(bench / "azure_llm2023" / "azure_llm_code.parquet").select("ContextTokens", "GeneratedTokens"),
        pl.read_parquet(bench / "azure_llm2023" / "azure_llm_conv.parquet").select("ContextTokens", "GeneratedTokens"),
    )
    micros = ("CPU_INSTRUCTION", "GPU_COMPUTE", "NETWORK_RECEIVE", "NETWORK_SEND")
    calls = []
    for trace in traces:
        read, written = trace.to_numpy().astype(np.float64).T
        calls.append(np.stack([2e6 * (read + written), 20 * written + 0.5 * read, 5 * read, 40 * written], axis=1))

    def price(_operation: str, excess: Mapping[tuple[str, str], float]) -> tuple[Decimal, str]:
        return Decimal(f"{sum(value * TRACE_RATES[key[1]] for key, value in excess.items()):.6f}"), "USD"

    return _recording(bench, operations, micros, price, calls)


def of_demo(bench: Path, directory: Path, seconds: float) -> Recording:
    """The operations of the demo's shop, metered for so long, at the price plan that the demo serves with."""
    events = _metered(directory, seconds)
    customers = [customer.name for customer in CUSTOMERS]
    events = events.filter(pl.col("userID").is_in(customers), pl.col("microOperationType").is_in(list(MAIN_RESOURCE)))
    micros = tuple(sorted(events["microOperationType"].unique()))
    operations = tuple(sorted(events["operationID"].unique()))
    calls = []
    for operation in operations:
        mine = events.filter(pl.col("operationID") == operation).sort("timestamp", "executionID")
        used = (pl.col(_amount(one)).filter(pl.col("microOperationType") == one).sum().alias(one) for one in micros)
        finished = pl.col("units").filter(pl.col("meter") == "executions").sum().alias("runs")
        runs = mine.group_by("executionID", maintain_order=True).agg(finished, *used)
        runs = runs.filter(pl.col("runs") >= 1)
        times = runs["runs"].to_numpy().astype(np.int64)
        calls.append(np.repeat(runs.select(micros).to_numpy() / times[:, None], times, axis=0))
    plan = load_plans(ROOT / "configs" / "plans")["micro-operations"]
    return _recording(bench, operations, micros, excess_price(plan), calls)


def _amount(micro: str) -> str:
    first, *others = MAIN_RESOURCE[micro].split("_")
    return first + "".join(map(str.title, others))


def _metered(directory: Path, seconds: float) -> pl.DataFrame:
    """Events of the demo's shop under the demo's load, as the profiler wrote them."""
    command = metercast("run", "--user", "shop", "--to", str(directory / "usage"), "--", str(SHOP))
    environment = os.environ | {"METERCAST_USER_HEADER": "X-Customer", "METERCAST_SPOOL": str(directory / "spool")}
    shop = subprocess.Popen(
        [*command, "--directory", str(directory / "shop")], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        load = Load(int(shop.stdout.readline()))  # type: ignore[union-attr]
        load.start()
        time.sleep(seconds)
        load.stop()
    finally:
        shop.terminate()
        shop.wait(30)
    found = [
        json.loads(gzip.decompress(path.read_bytes()))["events"] for path in sorted((directory / "usage").iterdir())
    ]
    rows = [event | event.pop("resourceUsage") for batch in found for event in batch]
    return pl.DataFrame(rows, infer_schema_length=None)


def _recording(
    bench: Path, operations: tuple[str, ...], micros: tuple[str, ...], price: Price, calls: list[np.ndarray]
) -> Recording:
    """As many calls as machines of a flavour started; ``calls`` holds (calls, micro-operations) of each operation."""
    events = pl.read_parquet(bench / "azurevm_arrivals" / "azvm_events.parquet")
    flavours = events.group_by("flavour").agg(pl.col("count").sum()).sort("count", "flavour", descending=[True, False])
    bins = int(events["ts_s"].max()) // WINDOW_S + 1
    runs = np.zeros((bins, len(USERS), len(operations)))
    for index, flavour in enumerate(flavours["flavour"][: len(USERS) * len(operations)]):
        rows = events.filter(pl.col("flavour") == flavour)
        counts = np.minimum(rows["count"].to_numpy(), MOST_CALLS)
        np.add.at(runs[:, index % len(USERS), index // len(USERS)], rows["ts_s"].to_numpy() // WINDOW_S, counts)
    usage = {name: np.zeros_like(runs) for name in micros} | {"runs": runs}
    for place in range(len(operations)):
        for user in range(len(USERS)):
            first = user * len(calls[place]) // len(USERS)
            used = _replayed(calls[place], runs[:, user, place].astype(np.int64), first)
            for name, amounts in zip(micros, used.T, strict=True):
                usage[name][:, user, place] = amounts
    return Recording(USERS, operations, {name: MAIN_RESOURCE[name] for name in micros}, price, usage)


def _replayed(calls: np.ndarray, counts: np.ndarray, first: int) -> np.ndarray:
    """Sums of as many calls as each window counts, one after another, around and around."""
    ends = np.cumsum(counts) + first
    sums = np.concatenate([np.zeros((1, calls.shape[1])), np.cumsum(calls, axis=0)])
    before, after = (sums[at % len(calls)] + (at // len(calls))[:, None] * sums[-1] for at in (ends - counts, ends))
    return np.maximum(after - before, 0.0)
