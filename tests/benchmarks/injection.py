"""Injected faults in recorded usage: how much of their money is found within an hour, and how many pages are false.

The usage is recorded: starts of virtual machines, five minutes by five minutes over 30 days, say how often five users
call; each call uses what the next request of a recorded trace of language model requests used. Faults are injected
from the fifteenth day on into three of the users, a day apart. Money injected at a time is found when a page told of
the fault no later than an hour after it.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl

from features.windows import SCHEMA
from serving.alerts.anomaly import EVERYONE, WHOLE, Anomaly
from serving.alerts.hook import DetectionHook
from serving.alerts.intensity import Price
from serving.alerts.store import parse
from serving.engine.series_index import SeriesIndex

ROOT = Path(__file__).resolve().parents[2]
WINDOW_S, DAY = 300, 288
HISTORY = 14 * DAY
HOUR = 12
USERS, OPERATIONS = ("ada", "ben", "cem", "dee", "eva"), ("chat", "code", "conversation")
MICROS = {
    "CPU_INSTRUCTION": "cpu_cycles",
    "GPU_COMPUTE": "execution_time_ms",
    "NETWORK_RECEIVE": "network_bytes",
    "NETWORK_SEND": "network_bytes",
}
RATES = {"cpu_cycles": 2e-12, "execution_time_ms": 1e-6, "network_bytes": 9e-8}
"""USD a unit; with them CPU, GPU and network each cost something like a third."""

Usage = dict[str, np.ndarray]
"""Runs, and the totals by micro-operation: arrays (windows, users, operations)."""


@dataclass(frozen=True)
class Fault:
    """What is injected: how long it lasts, and what it does to the usage of one user in those windows."""

    name: str
    windows: int
    change: Callable[[Usage, int, slice], None]
    prices: Mapping[str, float] | None = None
    operation: str = WHOLE


def recorded(bench: Path) -> Usage:
    """Usage of 30 days from the recorded traces."""
    events = pl.read_parquet(bench / "azurevm_arrivals" / "azvm_events.parquet")
    flavours = events.group_by("flavour").agg(pl.col("count").sum()).sort("count", descending=True)["flavour"][:15]
    bins = int(events["ts_s"].max()) // WINDOW_S + 1
    runs = np.zeros((bins, len(USERS), len(OPERATIONS)))
    for index, flavour in enumerate(flavours):
        rows = events.filter(pl.col("flavour") == flavour)
        at = rows["ts_s"].to_numpy() // WINDOW_S
        np.add.at(runs[:, index % len(USERS), index // len(USERS)], at, np.minimum(rows["count"].to_numpy(), 20))
    traces = {
        "chat": pl.read_parquet(bench / "mooncake" / "conversation.parquet").select("input_length", "output_length"),
        "code": pl.read_parquet(bench / "azure_llm2023" / "azure_llm_code.parquet").select(
            "ContextTokens", "GeneratedTokens"
        ),
        "conversation": pl.read_parquet(bench / "azure_llm2023" / "azure_llm_conv.parquet").select(
            "ContextTokens", "GeneratedTokens"
        ),
    }
    usage = {name: np.zeros_like(runs) for name in MICROS} | {"runs": runs}
    for place, operation in enumerate(OPERATIONS):
        tokens = traces[operation].to_numpy().astype(np.float64)
        for user in range(len(USERS)):
            read, written = _replayed(tokens, runs[:, user, place].astype(np.int64), user)
            usage["CPU_INSTRUCTION"][:, user, place] = 2e6 * (read + written)
            usage["GPU_COMPUTE"][:, user, place] = 20 * written + 0.5 * read
            usage["NETWORK_RECEIVE"][:, user, place] = 5 * read
            usage["NETWORK_SEND"][:, user, place] = 40 * written
    return usage


def _replayed(tokens: np.ndarray, counts: np.ndarray, user: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the tokens of as many requests as there are calls, window after window, around and around the trace."""
    ends = np.cumsum(counts) + user * len(tokens) // len(USERS)
    starts = ends - counts
    sums = np.concatenate([np.zeros((1, 2)), np.cumsum(tokens, axis=0)])
    total = [sums[at % len(tokens)] + (at // len(tokens))[:, None] * sums[-1] for at in (starts, ends)]
    return tuple((total[1] - total[0]).T)  # type: ignore[return-value]


def scaled(factor: float, micros: tuple[str, ...], operation: int | None = 0) -> Callable[[Usage, int, slice], None]:
    """A change that multiplies usage."""

    def change(usage: Usage, user: int, span: slice) -> None:
        for name in micros:
            usage[name][span, user, operation if operation is not None else slice(None)] *= factor

    return change


def leak(usage: Usage, user: int, span: slice) -> None:
    """GPU time of one operation grows by 5 % a day."""
    usage["GPU_COMPUTE"][span, user, 0] *= 1.05 ** (np.arange(span.stop - span.start) / DAY)


def deploy(usage: Usage, user: int, span: slice) -> None:
    """One micro-operation doubles, another halves."""
    usage["CPU_INSTRUCTION"][span, user, 0] *= 2
    usage["GPU_COMPUTE"][span, user, 0] /= 2


def newcomer(usage: Usage, user: int, span: slice) -> None:
    """Nothing is changed: the user has no usage before, see `injected`."""


EVERYTHING = ("runs", *MICROS)
FAULTS = (
    Fault("leak, +5 % a day", 13 * DAY, leak, operation="chat"),
    Fault("retry storm", 3 * HOUR, scaled(4, ("NETWORK_SEND", "NETWORK_RECEIVE")), operation="chat"),
    Fault("infinite loop", 6 * HOUR, scaled(10, ("CPU_INSTRUCTION",)), operation="chat"),
    Fault("price change, GPU +50 %", 2 * DAY, scaled(1, ()), {"execution_time_ms": 1.5}),
    Fault("new user", 2 * DAY, newcomer),
    Fault("end-of-month batch", 8 * HOUR, scaled(4, EVERYTHING, None)),
    Fault("deploy: one doubles, one halves", 2 * DAY, deploy, operation="chat"),
)


def injected(usage: Usage, fault: Fault) -> tuple[Usage, np.ndarray, list[tuple[int, slice]]]:
    """The usage with a fault in three users, the money of it (windows, users), and who had it when."""
    changed = {name: values.copy() for name, values in usage.items()}
    rates = {name: RATES[resource] for name, resource in MICROS.items()}
    money = np.zeros(usage["runs"].shape[:2])
    spans = []
    for place, user in enumerate((0, 2, 4)):
        # Prices change for all at once, with the plan that the server starts with.
        start = HISTORY if fault.prices else HISTORY + place * DAY + 7 * HOUR
        span = slice(start, min(start + fault.windows, len(usage["runs"])))
        spans.append((user, span))
        if fault.name == "new user":
            for values in changed.values():
                values[:start, user] = 0.0
            before = {name: np.zeros_like(usage[name][span, user]) for name in MICROS}
        else:
            before = {name: usage[name][span, user] for name in MICROS}
        fault.change(changed, user, span)
        for name, resource in MICROS.items():
            factor = (fault.prices or {}).get(resource, 1.0)
            more = np.maximum(changed[name][span, user] * factor - before[name], 0.0).sum(axis=1)
            money[span, user] += more * rates[name]
    return changed, money, spans


def frames(usage: Usage, start: int, stop: int) -> list[pl.DataFrame]:
    """One frame of closed windows a window, as the engine hands them to its hook."""
    at, user, operation = np.nonzero(usage["runs"][start:stop])
    at = at + start
    where = (at, user, operation)
    base = {"window_start": at * WINDOW_S * 1_000_000_000, "user_id": np.array(USERS)[user]}
    base["operation_id"] = np.array(OPERATIONS)[operation]
    rows = [
        pl.DataFrame(
            base | {"micro_operation_type": "CPU_INSTRUCTION", "meter": "executions", "units": usage["runs"][where]}
        )
    ]
    for name, resource in MICROS.items():
        values = usage[name][where]
        kind = pl.Float64 if resource == "execution_time_ms" else pl.Int64
        part = pl.DataFrame(base | {"micro_operation_type": name, "meter": ""})
        rows.append(part.with_columns(pl.Series(resource, values).cast(kind)))
    whole = pl.concat(rows, how="diagonal").with_columns(pl.lit(1).alias("events"))
    missing = [pl.lit(0).alias(name) for name in SCHEMA if name not in whole.columns]
    whole = whole.with_columns(missing).fill_null(0)
    whole = whole.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).sort("window_start")
    return whole.partition_by("window_start", maintain_order=True)


def price(factors: Mapping[str, float] | None = None) -> Price:
    """Marginal prices, some of them changed."""
    rates = {resource: rate * (factors or {}).get(resource, 1.0) for resource, rate in RATES.items()}

    def priced(_operation: str, excess: Mapping[tuple[str, str], float]) -> tuple[Decimal, str]:
        return Decimal(f"{sum(value * rates[resource] for (_, resource), value in excess.items()):.6f}"), "USD"

    return priced


def watched(
    usage: Usage, start: int, stop: int, past: sqlite3.Connection | None, factors: Mapping[str, float] | None
) -> sqlite3.Connection:
    """Run the hook over windows, going on where ``past`` stopped as after a restart; returns its database."""
    connection = sqlite3.connect(":memory:")
    if past is not None:
        past.backup(connection)
    hook = DetectionHook(WINDOW_S, price=price(factors))
    index = SeriesIndex()
    for frame in frames(usage, start, stop):
        rows, index = index.numbered(frame)
        hook.closed(WINDOW_S, rows, index.names, connection)
        hook.write(connection)
    connection.commit()  # a copy waits for whoever writes
    return connection


def pages(connection: sqlite3.Connection) -> list[Anomaly]:
    """Episodes that somebody was told of, by the time of it."""
    rows = connection.execute("SELECT document, verdict FROM anomalies").fetchall()
    found = [parse(*row) for row in rows]
    return sorted((one for one in found if one.paged_ns is not None), key=lambda one: one.paged_ns or 0)


def share_found(
    connection: sqlite3.Connection, fault: Fault, money: np.ndarray, spans: list[tuple[int, slice]]
) -> tuple[float, list[float]]:
    """Share of the injected money that a page told of within an hour, and after how many hours each user's came."""
    found, delays = 0.0, []
    for user, span in spans:
        mine = [
            (one.paged_ns or 0) // 1_000_000_000 // WINDOW_S
            for one in pages(connection)
            if one.user in (USERS[user], EVERYONE)
            and (WHOLE in (one.operation, fault.operation) or one.operation == fault.operation)
        ]
        told = min((at for at in mine if span.start < at <= span.stop + HOUR), default=None)
        delays.append((told - span.start) / HOUR if told is not None else float("inf"))
        if told is not None:
            found += money[max(span.start, told - HOUR) : span.stop, user].sum()
    return found / money.sum(), delays


def main() -> int:
    """Print the table; 0 where the traces are not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fault", help="only faults whose name begins so")
    parser.add_argument("--pages", action="store_true", help="show the pages of the month without faults")
    args = parser.parse_args()
    bench = Path(os.environ.get("METERCAST_BENCH", ROOT.parent / "shared" / "bench")) / "traces"
    if not bench.is_dir():
        print(f"skipped: no traces in {bench}; set METERCAST_BENCH")
        return 0
    usage = recorded(bench)
    past = watched(usage, 0, HISTORY, None, None)
    rows, total, all_found = [], 0.0, 0.0
    for fault in FAULTS:
        if not fault.name.startswith(args.fault or ""):
            continue
        changed, money, spans = injected(usage, fault)
        before = watched(changed, 0, HISTORY, None, None) if fault.name == "new user" else past
        stop = min(max(span.stop for _, span in spans) + HOUR, len(usage["runs"]))
        after = watched(changed, HISTORY, stop, before, fault.prices)
        share, delays = share_found(after, fault, money, spans)
        hours = [round(delay, 2) for delay in delays]
        rows.append(
            {"fault": fault.name, "injected": round(float(money.sum()), 2), "found": round(share, 3), "hours": hours}
        )
        total, all_found = total + money.sum(), all_found + share * money.sum()
        line = f"{fault.name:34}{money.sum():10.2f} USD{share:8.1%}   after {', '.join(map(str, hours))} h"
        print(json.dumps(rows[-1]) if args.json else line, flush=True)
    whole = watched(usage, HISTORY, len(usage["runs"]), past, None)
    weeks = (len(usage["runs"]) - 7 * DAY) / DAY / 7
    told = [one for one in pages(whole) if (one.paged_ns or 0) >= 7 * 86_400_000_000_000]
    for one in told if args.pages else ():
        print(
            f"  {one.user} {one.operation} {one.kind} day {(one.paged_ns or 0) / 8.64e13:.2f}: {one.cost} {one.reason}"
        )
    quiet = {"false_pages_per_user_week": round(len(told) / weeks / len(USERS), 3)}
    summary = {"found_of_all": round(all_found / total, 3), **quiet}
    line = f"of all injected money found within an hour: {all_found / total:.1%}; {quiet}"
    print(json.dumps(summary) if args.json else line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
