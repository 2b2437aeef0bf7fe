"""The page Operations: what each operation and micro-operation costs, beside an icicle of the whole."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import polars as pl
from fastapi import APIRouter
from fastapi.responses import Response
from metercast.event import MICRO_OPERATION_TYPES

from features.windows import KEYS, RESOURCES
from serving.accounts.billing import longest_window
from serving.dashboard.icicle import Slice, icicle
from serving.dashboard.rendering import View, ViewDependency, bill_so_far, render
from serving.pricing.versions import SplitInvoice

router = APIRouter(include_in_schema=False)
FEES = "Fees and minimums"


@router.get("/operations")
def operations_page(view: ViewDependency) -> Response:
    """Operations of one user in the period, dearest first."""
    if view.user is None:
        return render(view, "empty.html", {"users": view.users})
    bill = bill_so_far(view)
    rows = _rows(bill, _usage(view))
    slices = [
        Slice(
            row["operationID"] or FEES,
            float(row["amount"]),
            [(part["microOperationType"], float(part["amount"])) for part in row["microOperations"]],
        )
        for row in rows
        if Decimal(row["amount"]) > 0
    ]
    total = f"{bill.total:,f} {bill.currency}"
    values = {"operations": rows, "total": str(bill.total), "currency": bill.currency}
    return render(view, "operations.html", values, {"chart": icicle(slices, total)})


def _usage(view: View) -> dict[tuple[str, str], dict[str, float]]:
    """Sums of the period by (operation, micro-operation)."""
    window_s = longest_window(view.platform.settings.windows_s, (view.period.start_ns, view.period.end_ns))
    frame = view.platform.history.totals(window_s, view.period.start_ns, view.period.end_ns, view.user)
    sums = frame.group_by(*KEYS[1:3]).agg(
        pl.col("events", *RESOURCES[:-1]).sum(),
        pl.col("units").filter(pl.col("meter") == "executions").sum().alias("executions"),
    )
    return {(row["operation_id"], row["micro_operation_type"]): row for row in sums.iter_rows(named=True)}


def _rows(bill: SplitInvoice, usage: dict[tuple[str, str], dict[str, float]]) -> list[dict[str, Any]]:
    """Operations by cost, then by name; each with all of its micro-operations, free ones as well."""
    parts = bill.parts()
    operations: dict[str, list[dict[str, Any]]] = {}
    for key in sorted({*parts, *usage}, key=_order):
        used = {name: value for name, value in usage.get(key, {}).items() if name not in KEYS}
        one = {"microOperationType": key[1], "amount": str(parts.get(key, Decimal(0))), "usage": used}
        operations.setdefault(key[0], []).append(one)
    total = bill.total or Decimal(1)
    rows = []
    for operation, micros in operations.items():
        amount = sum((Decimal(one["amount"]) for one in micros), Decimal(0))
        runs = sum(one["usage"].get("executions", 0.0) for one in micros)
        rows.append(
            {
                "operationID": operation,
                "amount": str(amount),
                "share": float(amount / total),
                "executions": runs,
                "per_execution": str(amount / Decimal(runs)) if runs else None,
                "microOperations": sorted(micros, key=lambda one: -Decimal(one["amount"])) if operation else [],
            }
        )
    return sorted(rows, key=lambda row: (-Decimal(row["amount"]), row["operationID"]))


def _order(key: tuple[str, str]) -> tuple[str, int]:
    known = key[1] in MICRO_OPERATION_TYPES
    return key[0], MICRO_OPERATION_TYPES.index(key[1]) if known else len(MICRO_OPERATION_TYPES)
