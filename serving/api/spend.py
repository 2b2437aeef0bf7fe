"""GET /v1/spend and /v1/invoices: what the usage metered so far costs, and the bill of a period line by line."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from serving.api.billed import Billed, BilledDependency
from serving.api.dependencies import PlatformDependency
from serving.api.security import needs
from serving.ledger.documents import line_document
from serving.pricing.versions import SplitInvoice

router = APIRouter(tags=["spend"], dependencies=[needs("usage:read")])


@router.get("/v1/spend")
def get_spend(billed: BilledDependency) -> dict[str, Any]:
    """Spend of the period so far (default: this calendar month in UTC), by operation and micro-operation."""
    bill = billed.bill()
    parts = sorted(bill.parts().items(), key=lambda item: -item[1])
    return _head(bill, billed) | {
        "spend": str(bill.total),
        "parts": [
            {"operationID": operation, "microOperationType": micro, "amount": str(amount)}
            for (operation, micro), amount in parts
        ],
    }


@router.get("/v1/invoices")
def get_invoice(platform: PlatformDependency, billed: BilledDependency) -> dict[str, Any]:
    """The invoice of a period from what is in the log, each line with its formula; `draft` until the period ends.

    Credits for broken service levels are among the lines, as they will be when the period is closed; `usage` is the
    total without them, which is what /v1/spend says.
    """
    usage = billed.bill()
    bill = platform.commerce.with_credits(usage, billed.user, billed.period)
    lines = [line_document(line, billed.user, one.period) for one in bill.slices for line in one.lines]
    draft = platform.worker.closed_until_ns(platform.settings.windows_s[0]) < billed.period.end_ns
    return _head(bill, billed) | {
        "draft": draft,
        "lines": lines,
        "usage": str(usage.total),
        "total": str(bill.total),
    }


def _head(bill: SplitInvoice, billed: Billed) -> dict[str, Any]:
    last = bill.slices[-1]
    return {
        "user": billed.user,
        "plan": {"id": last.plan_id, "version": last.plan_version},
        "versions": [one.plan_version for one in bill.slices],
        "currency": bill.currency,
        "period": billed.span(),
    }
