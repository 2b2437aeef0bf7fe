"""The demo's answer: one document from what the platform said, and the same as text."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

TOP = 6
SHARE_OF_DEAREST = Decimal("0.1")
"""Anomalies that cost less than this share of the dearest are only counted."""


def totals_of(estimates: list[dict[str, Any]]) -> dict[str, str]:
    """Spend so far of all users under each plan."""
    sums: dict[str, Decimal] = {}
    for one in estimates:
        for estimate in one["estimates"]:
            plan = estimate["plan"]["id"]
            sums[plan] = sums.get(plan, Decimal(0)) + Decimal(estimate["spend_so_far"])
    return {plan: str(amount) for plan, amount in sums.items()}


def overhead_of(operations: list[dict[str, Any]]) -> dict[str, Any]:
    """CPU of the profiler against that of the program, and events whose detail was dropped."""
    own = [row for row in operations if row["micro_operation_type"] == "PROFILER_SELF"]
    cycles = sum(row["cpu_cycles"] for row in own)
    program = sum(row["cpu_cycles"] for row in operations) - cycles
    dropped = sum(row["units"] for row in own if row["meter"] == "dropped_events")
    return {
        "profiler_cpu_cycles": cycles,
        "program_cpu_cycles": program,
        "profiler_share_of_cpu": round(cycles / program, 4) if program else None,
        "dropped_events": int(dropped),
    }


def print_report(document: dict[str, Any], console: Console) -> None:
    """The document as a page of text."""
    counted = document["measured"]
    console.print(
        f"\n[bold]Measured[/bold] {counted['requests_answered']} requests of {len(document['users'])} users: "
        f"{counted['events_in_windows']} micro-operations, {counted['requests_failed']} requests failed"
    )
    _print_spend(document, console)
    _print_operations(document, console)
    _print_anomalies(document, console)
    champion = document["training"]["champion"]
    console.print(
        f"[bold]Model[/bold] champion {champion['model']} version {champion['version']}, backtest WQL "
        f"{champion['wql']:.3f}, MASE {champion['mase']:.3f}, coverage {champion['coverage']:.2f}; compared: "
        + ", ".join(f"{row['model']} {row['wql']:.3f}" for row in document["training"]["models"])
    )
    overhead = document["profiler"]
    console.print(
        f"[bold]Profiler[/bold] its own CPU is {overhead['profiler_share_of_cpu']:.1%} of the program's; "
        f"{overhead['dropped_events']} events dropped"
    )


def _print_spend(document: dict[str, Any], console: Console) -> None:
    table = Table("user", "plan", "so far", "P10", "P50", "P90", "cheaper plan", title="Bill at the end of the period")
    for column in table.columns[2:6]:
        column.justify = "right"
    for one in document["estimates"]:
        comparison = one["comparison"]
        for estimate in one["estimates"]:
            plan, quantiles = estimate["plan"]["id"], estimate["quantiles"]
            best = f"with probability {comparison['probability']:.2f}" if plan == comparison["cheapest"] else ""
            amounts = [f"{estimate['spend_so_far']} {estimate['currency']}"]
            amounts += [quantiles[level] for level in ("0.1", "0.5", "0.9")]
            table.add_row(one["user"], plan, *amounts, best)
        table.add_section()
    console.print(table)


def _print_operations(document: dict[str, Any], console: Console) -> None:
    table = Table("user", "operation", "so far", "expected", "by micro-operation", title="Dearest operations")
    for one in document["estimates"]:
        named = [row for row in one["estimates"][0]["operations"] if row["operationID"]]
        for row in named[: TOP // 2]:
            parts = ", ".join(
                f"{part['microOperationType']} {Decimal(part['expected']):.2f}"
                for part in row["microOperations"]
                if Decimal(part["expected"]) >= Decimal("0.005")
            )
            amounts = (f"{Decimal(row['so_far']):.2f}", f"{Decimal(row['expected']):.2f}")
            table.add_row(one["user"], row["operationID"], *amounts, parts)
        table.add_section()
    console.print(table)


def _print_anomalies(document: dict[str, Any], console: Console) -> None:
    fault = document["fault"]
    console.print(f"[bold]Fault[/bold] {fault['what']} on at {fault['on'][11:19]}, off at {fault['off'][11:19]}")
    costs = [Decimal(anomaly["cost"] or 0) for anomaly in document["anomalies"]]
    least = max(costs, default=Decimal(0)) * SHARE_OF_DEAREST
    worth = [anomaly for anomaly, cost in zip(document["anomalies"], costs, strict=True) if cost >= least]
    for anomaly in sorted(worth, key=lambda anomaly: -Decimal(anomaly["cost"])):
        end = anomaly["ended"] or anomaly["last"]
        console.print(
            f"[bold]Anomaly[/bold] {anomaly['started'][11:19]} to {end[11:19]}: {anomaly['reason']}, "
            f"cost {anomaly['cost']} {anomaly['currency']}"
        )
    small = [cost for cost in costs if cost < least]
    if small:
        console.print(f"[bold]Anomalies[/bold] and {len(small)} smaller ones of together {sum(small)}")
