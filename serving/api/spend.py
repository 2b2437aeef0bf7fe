"""GET /v1/spend and /v1/invoices: what the usage metered so far costs, and the bill of a period line by line."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter

from serving import spend
from serving.api.dependencies import PlatformDependency, iso, time_ns
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, visible_user
from serving.estimate_service import month_ns
from serving.platform import Platform
from serving.pricing.plan import Plan
from serving.pricing.rate import Invoice
from serving.pricing.usage import Period

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
    bill = _bill(platform, principal, user, plan, start, end)
    parts = sorted(bill.parts().items(), key=lambda item: -item[1])
    return _head(bill, principal.tenant or str(user)) | {
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
    """The invoice of a period from what is in the log, each line with its formula; `draft` until the period ends."""
    bill = _bill(platform, principal, user, plan, start, end)
    lines = [
        {
            "id": line.id,
            "description": line.description,
            "kind": line.kind,
            "meter": line.meter or None,
            "quantity": f"{line.quantity:f}",
            "formula": line.formula,
            "amount": str(line.amount),
        }
        for line in bill.lines
    ]
    draft = platform.worker.closed_until_ns(platform.settings.windows_s[0]) < bill.period.end_ns
    return _head(bill, principal.tenant or str(user)) | {"draft": draft, "lines": lines, "total": str(bill.total)}


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


def _bill(
    platform: Platform, principal: Caller, user: str | None, plan: str | None, start: str | None, end: str | None
) -> Invoice:
    chosen = visible_user(principal, platform, user)
    if chosen is None:
        raise ProblemError(422, "user is missing; GET /v1/users lists those there are")
    return spend.invoice(
        platform.history, platform.settings.windows_s, plan_of(platform, plan), chosen, period_of(start, end)
    )


def _head(bill: Invoice, user: str) -> dict[str, Any]:
    return {
        "user": user,
        "plan": {"id": bill.plan_id, "version": bill.plan_version},
        "currency": bill.currency,
        "period": {"start": iso(bill.period.start_ns), "end": iso(bill.period.end_ns)},
    }
