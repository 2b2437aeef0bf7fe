"""`metercast top`: watches metered programs while they run, what their operations cost and use per second."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time

from metercast.ledger import size_text
from metercast.shipping.control import ask, control_directory, metered_processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_AMOUNTS = ("price_usd", "cpuCycles", "networkBytes", "diskBytes", "memoryBytes", "executionTimeMs", "units")
_RUNS = "executions"


def main(argv: list[str]) -> int:
    """Show a table every interval until interrupted; with --once or --json one table."""
    parser = argparse.ArgumentParser(prog="metercast top", description=__doc__)
    parser.add_argument("process", type=int, nargs="*", help="process numbers; all of this user's without one")
    parser.add_argument("--interval", type=float, default=2.0, help="seconds between two tables (2)")
    parser.add_argument("--once", action="store_true", help="one table, over one interval")
    parser.add_argument("--limit", type=int, default=15, help="operations to show (15)")
    parser.add_argument(
        "--control",
        default=os.environ.get("METERCAST_CONTROL", ""),
        help="directory of the sockets (METERCAST_CONTROL)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document, over one interval")
    options = parser.parse_args(argv)
    directory = control_directory(options.control)
    before = _ask_all(directory, options.process)
    if not before:
        print("metercast top: no metered program answers. Start one with `metercast run PROGRAM`.", file=sys.stderr)
        return 1
    is_once = options.once or options.json or not sys.stdout.isatty()
    while True:
        time.sleep(max(0.1, options.interval))
        now = _ask_all(directory, options.process)
        if not now:
            print("metercast top: the program has ended.", file=sys.stderr)
            return 0
        rows = rates(before, now)
        if options.json:
            print(json.dumps({"processes": list(now.values()), "operations": rows}))
        else:
            clear = "" if is_once else "\x1b[H\x1b[2J"
            print(clear + screen(list(now.values()), rows[: options.limit]), flush=True)
        if is_once:
            return 0
        before = now


def _ask_all(directory: str | None, wanted: list[int]) -> dict[int, dict[str, Any]]:
    answers = {}
    for process in wanted or (metered_processes(directory) if directory else ()):
        try:
            answers[process] = ask(directory or "", process, "status")
        except OSError:
            continue
    return answers


def rates(before: dict[int, dict[str, Any]], now: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """What each operation used per second between two answers, over all processes; dearest first."""
    rows: dict[str, dict[str, Any]] = {}
    for process, answer in now.items():
        earlier = before.get(process)
        known = _parts(earlier) if earlier is not None and earlier["since_s"] == answer["since_s"] else {}
        since_s = earlier["now_s"] if known and earlier is not None else answer["since_s"]
        passed_s = max(1e-3, answer["now_s"] - since_s)
        for key, part in _parts(answer).items():
            row = rows.setdefault(key[0], {"operation": key[0], "micro_operations": {}})
            into = row["micro_operations"].setdefault(key[1], dict.fromkeys(_AMOUNTS, 0.0))
            for name in _AMOUNTS:
                into[name] += (part[name] - known.get(key, {}).get(name, 0.0)) / passed_s
    for row in rows.values():
        for name in _AMOUNTS:
            row[name] = sum(part[name] for part in row["micro_operations"].values())
        row["runs"] = row["micro_operations"].get("CPU_INSTRUCTION", {}).get("units", 0.0)
    return sorted(rows.values(), key=lambda row: (-row["price_usd"], -row["executionTimeMs"]))


def _parts(answer: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["operation"], part["type"]): part for row in answer["operations"] for part in row["micro_operations"]}


def screen(answers: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """The table as text."""
    lines = [_process_line(answer) for answer in answers]
    titles = ("runs/s", 10), ("Mcycles/s", 12), ("network/s", 12), ("disk/s", 12), ("busy", 9), ("uUSD/h", 12)
    head = f"{'operation / micro-operation':<34}" + "".join(f"{title:>{width}}" for title, width in titles)
    lines += ["", head, "-" * len(head)]
    for row in rows:
        lines.append(_line(row["operation"][:33], row, f"{row['runs']:,.1f}"))
        parts = sorted(row["micro_operations"].items(), key=lambda part: -part[1]["executionTimeMs"])
        lines.extend(_line("  " + name, part, "") for name, part in parts if any(part.values()))
    return "\n".join(lines)


def _process_line(answer: dict[str, Any]) -> str:
    command = " ".join(os.path.basename(answer["command"][0]).split() + answer["command"][1:])[:50]
    state = "" if answer["is_on"] else ", PAUSED"
    trouble = f", {answer['problem'][:60]}" if answer["problem"] else ""
    lost = f", {answer['lost_events']:,} LOST" if answer["lost_events"] else ""
    dropped = f", {answer['dropped_events']:,} as totals" if answer["dropped_events"] else ""
    return (
        f"{answer['process']} {command}: {answer['engine']} engine, {answer['detail']}, {answer['events']:,} events"
        f"{dropped}{lost}{state}{trouble}"
    )


def _line(name: str, part: dict[str, Any], runs: str) -> str:
    return (
        f"{name:<34}{runs:>10}{part['cpuCycles'] / 1e6:>12,.1f}{size_text(part['networkBytes']):>12}"
        f"{size_text(part['diskBytes']):>12}{part['executionTimeMs'] / 10:>7,.1f} %{part['price_usd'] * 3.6e9:>12,.1f}"
    )
