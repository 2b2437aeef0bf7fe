"""`metercast estimate`: the predictive bill of a user, from a running server."""

from __future__ import annotations

import argparse
import json
import sys

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
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    names = ("period_start", "period_end", "budget")
    body = {"user": args.user, "plans": args.plan}
    body |= {name: value for name in names if (value := getattr(args, name)) is not None}
    try:
        document = Client(args.url, args.key).post("/v1/estimates", body)
    except (ProblemError, ValueError) as error:
        print(f"metercast estimate: {error}", file=sys.stderr)
        return 2
    except UnreachableError as error:
        print(f"metercast estimate: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(document, indent=2))
        return 0
    table = Table("plan", "so far", "P10", "P50", "P90", title=f"Bill of {args.user} at {document['period']['end']}")
    for one in document["estimates"]:
        amounts = [one["quantiles"][level] for level in ("0.1", "0.5", "0.9")]
        table.add_row(one["plan"]["id"], f"{one['spend_so_far']} {one['currency']}", *amounts)
    Console().print(table)
    if "comparison" in document:
        comparison = document["comparison"]
        print(f"{comparison['cheapest']} is cheaper with probability {comparison['probability']:.2f}")
    return 0
