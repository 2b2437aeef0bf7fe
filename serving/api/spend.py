"""GET /v1/spend and /v1/invoices: what the usage metered so far costs, and the bill of a period line by line."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from serving.accounts.billing import HistoryReader
from serving.accounts.periods import month_ns
from serving.api.dependencies import PlatformDependency, iso, time_ns
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.ledger.documents import line_document
from serving.platform import Platform
from serving.pricing.plan import Plan
from serving.pricing.usage import Period
from serving.pricing.versions import SplitInvoice

router = APIRouter(tags=["spend"], dependencies=[needs("usage:read")])


@router.get("/v1/spend")
def get_spend(
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    plan: str | None = None,
    start: str | None = None,
    end: str | None = None,
) -> dict[str, Any]:
    """Spend of the period so far (default: this calendar month in UTC), by operation and micro-operation."""
    bill, whom, period = bill_of(platform, principal, user, plan, start, end)
    parts = sorted(bill.parts().items(), key=lambda item: -item[1])
    return _head(bill, whom, period) | {
        "spend": str(bill.total),
        "parts": [
            {"operationID": operation, "microOperationType": micro, "amount": str(amount)}
            for (operation, micro), amount in parts
        ],
    }


@router.get("/v1/invoices")
def get_invoice(
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    plan: str | None = None,
    start: str | None = None,
    end: str | None = None,
) -> dict[str, Any]:
    """The invoice of a period from what is in the log, each line with its formula; `draft` until the period ends.

    Credits for broken service levels are among the lines, as they will be when the period is closed; `usage` is the
    total without them, which is what /v1/spend says.
    """
    usage, whom, period = bill_of(platform, principal, user, plan, start, end)
    bill = platform.commerce.with_credits(usage, whom, period)
    lines = [line for one in bill.slices for line in (line_document(line, whom, one.period) for line in one.lines)]
    draft = platform.worker.closed_until_ns(platform.settings.windows_s[0]) < period.end_ns
    return _head(bill, whom, period) | {
        "draft": draft,
        "lines": lines,
        "usage": str(usage.total),
        "total": str(bill.total),
    }


def plan_of(platform: Platform, plan_id: str | None) -> Plan:
    """The plan of an id, or the default one; raises a 404 problem."""
    found = platform.plans.get(plan_id or platform.settings.default_plan)
    if found is None:
        raise ProblemError(404, f"no plan {plan_id!r:.60}; there are {', '.join(sorted(platform.plans))}")
    return found


def period_of(start: str | None, end: str | None) -> Period:
    """The period given, or the calendar month in UTC; raises a 422 problem."""
    month_start, month_end = month_ns(time.time_ns())
    start_ns, end_ns = time_ns("start", start, month_start), time_ns("end", end, month_end)
    if end_ns <= start_ns:
        raise ProblemError(422, f"the period ends at {iso(end_ns)}, not after its start {iso(start_ns)}")
    return Period(start_ns, end_ns)


def bill_of(
    platform: Platform, principal: Caller, user: str | None, plan: str | None, start: str | None, end: str | None
) -> tuple[SplitInvoice, str, Period]:
    """The bill of a period so far, and whose it is, under the customer's plan unless another is named."""
    chosen = visible_user(principal, platform, user)
    if chosen is None:
        raise ProblemError(422, "user is missing; GET /v1/users lists those there are")
    found, period = plan_of(platform, plan or platform.commerce.biller.plan_of(chosen)), period_of(start, end)
    reader = HistoryReader(platform.history, chosen)
    return platform.commerce.biller.bill(found.id, chosen, period, reader), chosen, period


def _head(bill: SplitInvoice, user: str, period: Period) -> dict[str, Any]:
    last = bill.slices[-1]
    return {
        "user": user,
        "plan": {"id": last.plan_id, "version": last.plan_version},
        "versions": [one.plan_version for one in bill.slices],
        "currency": bill.currency,
        "period": {"start": iso(period.start_ns), "end": iso(period.end_ns)},
    }
