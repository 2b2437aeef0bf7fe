"""`metercast estimate`: the predictive bill of a user, from a running server."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from metercast.client import Client, ProblemError, UnreachableError
from rich.console import Console
from rich.table import Table


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="metercast estimate", description=__doc__)
    parser.add_argument("--user", required=True, help="whose bill")
    parser.add_argument("--plan", action="append", default=[], help="plan id; repeat to compare")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server (default: %(default)s)")
    parser.add_argument("--key", default="", help="API key (default: METERCAST_API_KEY)")
    parser.add_argument("--period-start", help="ISO 8601; the calendar month in UTC unless given")
    parser.add_argument("--period-end", help="ISO 8601")
    parser.add_argument("--budget", help="amount; adds the probability of exceeding it")
    parser.add_argument("--backtest", action="store_true", help="compare past estimates with the bills that came")
    parser.add_argument("--period-s", type=int, default=86_400, help="backtest: length of a period (default: a day)")
    parser.add_argument("--periods", type=int, default=3, help="backtest: how many to go back (default: 3)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    try:
        document = Client(args.url, args.key).post(*_question(args))
    except (ProblemError, ValueError) as error:
        print(f"metercast estimate: {error}", file=sys.stderr)
        return 2
    except UnreachableError as error:
        print(f"metercast estimate: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(document, indent=2))
    elif args.backtest:
        _show_backtest(document)
    else:
        _show(args.user, document)
    return 0


def _question(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """What to POST where."""
    if args.backtest:
        body: dict[str, Any] = {"user": args.user, "period_s": args.period_s, "periods": args.periods}
        return "/v1/estimates/backtest", body | ({"plan": args.plan[0]} if args.plan else {})
    names = ("period_start", "period_end", "budget")
    body = {"user": args.user, "plans": args.plan}
    return "/v1/estimates", body | {name: value for name in names if (value := getattr(args, name)) is not None}


def _show_backtest(document: dict[str, Any]) -> None:
    plan = document["plan"]
    title = f"Estimates of {document['user']} under {plan['id']} beside the bills that came"
    table = Table("elapsed", "estimates", "mean error", "bias", "P10-P90 covered", title=title)
    for row in document["errors"]:
        low, high = row["elapsed_percent"]
        shown = [
            "" if row[name] is None else f"{row[name]:.1f} %"
            for name in ("mean_absolute_error_percent", "bias_percent")
        ]
        table.add_row(f"{low} to {high} %", str(row["estimates"]), *shown, f"{row['coverage_p10_p90']:.0%}")
    Console().print(table)


def _show(user: str, document: dict[str, Any]) -> None:
    table = Table("plan", "so far", "P10", "P50", "P90", title=f"Bill of {user} at {document['period']['end']}")
    for one in document["estimates"]:
        amounts = [one["quantiles"][level] for level in ("0.1", "0.5", "0.9")]
        table.add_row(one["plan"]["id"], f"{one['spend_so_far']} {one['currency']}", *amounts)
    Console().print(table)
    for one in document["estimates"]:
        for version in one["versions"][1:]:
            print(f"{version['id']}: version {version['version']} prices what is used from {version['from']} on")
    if "comparison" in document:
        comparison = document["comparison"]
        print(f"{comparison['cheapest']} is cheaper with probability {comparison['probability']:.2f}")
