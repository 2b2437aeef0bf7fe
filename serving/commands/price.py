"""`metercast price`: the invoice lines of usage in a file under a plan."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from features.usage_files import read_usage
from serving.accounts.usage_records import usage_records
from serving.ledger.documents import bill_document, explained
from serving.plans.plan_files import load_plan
from serving.pricing.rate import Invoice, rate
from serving.pricing.usage import Period
from serving.pricing.versions import SplitInvoice

WINDOW_NS = 1_000_000_000


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="metercast price", description=__doc__)
    parser.add_argument("--plan", type=Path, required=True, help="plan file (YAML)")
    parser.add_argument("--usage", type=Path, required=True, help="events or windows: Parquet, CSV, JSON or NDJSON")
    parser.add_argument("--user", help="only this user's usage")
    parser.add_argument("--start", help="ISO 8601; begin of the period (default: the first usage)")
    parser.add_argument("--end", help="ISO 8601; end of the period (default: the last usage)")
    parser.add_argument("--explain", action="store_true", help="every line step by step")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args(argv)
    try:
        plan = load_plan(args.plan)
        windows = _usage(args.usage, args.user)
        period = _period(windows, args.start, args.end)
    except ValueError as error:  # PlanError and UsageFileError among them
        print(f"metercast price: {error}", file=sys.stderr)
        return 2
    invoices = {
        user: rate(plan.of_customer(user), usage_records(windows.filter(pl.col("user_id") == user), WINDOW_NS), period)
        for user in windows["user_id"].unique().sort().to_list()
    }
    if args.json:
        print(json.dumps({"plan": plan.id, "version": plan.version, "invoices": _documents(invoices)}, indent=2))
    elif args.explain:
        for user, invoice in invoices.items():
            print(explained(bill_document(SplitInvoice((invoice,)), user, period)))
    else:
        _show(invoices)
    return 0


def _usage(path: Path, user: str | None) -> pl.DataFrame:
    """The windows of a file, of one user where named; raises ValueError when there are none."""
    windows = read_usage(path)
    if user is not None:
        windows = windows.filter(pl.col("user_id") == user)
    if windows.is_empty():
        raise ValueError(f"{path} has no usage of user {user!r}" if user is not None else f"{path} holds no usage")
    return windows


def _period(windows: pl.DataFrame, start: str | None, end: str | None) -> Period:
    """The span of the usage, or as it was given; raises ValueError for times that are none."""
    starts = windows["window_start"].cast(pl.Int64)
    first, last = int(starts.min()), int(starts.max()) + WINDOW_NS  # type: ignore[arg-type]
    return Period(_ns(start) if start else first, _ns(end) if end else last)


def _ns(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()) * WINDOW_NS


def invoice_document(invoice: Invoice) -> dict[str, Any]:
    """An invoice as JSON: money as decimal strings."""
    return {
        "currency": invoice.currency,
        "total": str(invoice.total),
        "taxable": {code: str(amount) for code, amount in invoice.taxable().items()},
        "lines": [
            {
                "id": line.id,
                "description": line.description,
                "kind": line.kind,
                "meter": line.meter,
                "quantity": f"{line.quantity.normalize():f}",
                "formula": line.formula,
                "steps": [
                    {"label": step.label or None, "formula": step.formula, "amount": f"{step.amount.normalize():f}"}
                    for step in line.steps
                ],
                "preciseAmount": f"{line.precise_amount.normalize():f}",
                "amount": str(line.amount),
                "parts": [
                    {"operationID": operation, "microOperationType": micro, "amount": str(amount)}
                    for (operation, micro), amount in line.parts.items()
                ],
            }
            for line in invoice.lines
        ],
    }


def _documents(invoices: dict[str, Invoice]) -> list[dict[str, Any]]:
    return [{"userID": user} | invoice_document(invoice) for user, invoice in invoices.items()]


def _show(invoices: dict[str, Invoice]) -> None:
    table = Table("user", "line", "quantity", "formula", "amount")
    for column in (2, 4):
        table.columns[column].justify = "right"
    for user, invoice in invoices.items():
        for line in invoice.lines:
            quantity = line.quantity.quantize(Decimal("0.000001")).normalize()
            table.add_row(user, line.description, f"{quantity:f}", line.formula, f"{line.amount} {invoice.currency}")
        table.add_row(user, "total", "", "", f"{invoice.total} {invoice.currency}", style="bold", end_section=True)
    Console().print(table)
