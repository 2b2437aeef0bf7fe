"""/v1/invoices: closing periods, numbered invoices, corrections, how a bill came about, and what it could have been."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, ConfigDict

from serving.api.billed import BilledDependency, period_of, plan_of
from serving.api.dependencies import PlatformDependency, iso
from serving.api.problems import ProblemError
from serving.api.security import Caller, needs, vendor_only, visible_user
from serving.estimating import what_happened
from serving.ledger.documents import bill_document, explained
from serving.ledger.invoices import InvoiceError, NumberedInvoice
from serving.platform import Platform

router = APIRouter(tags=["invoices"], dependencies=[needs("usage:read")])


class CloseRequest(BaseModel):
    """Whose period to close; it must have ended."""

    model_config = ConfigDict(extra="forbid")

    user: str
    start: str
    end: str


@router.post("/v1/invoices", status_code=201, dependencies=[needs("plans:write")])
def post_invoice(body: CloseRequest, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Close a period: the next number, computed from the log, immutable."""
    vendor_only(principal)
    visible_user(principal, platform, body.user)
    try:
        invoice = platform.commerce.close_period(body.user, period_of(body.start, body.end))
    except InvoiceError as error:
        raise ProblemError(error.status, str(error)) from error
    platform.audit.record(principal.key_id, "invoice.issue", invoice.user, number=invoice.number)
    return _document(invoice)


@router.get("/v1/invoices/issued")
def get_issued(platform: PlatformDependency, principal: Caller, user: str | None = None) -> dict[str, Any]:
    """Issued invoices in the order of their numbers, without their lines."""
    user = visible_user(principal, platform, user)
    return {"invoices": [_head(one) for one in platform.commerce.invoices.every(user)]}


@router.get("/v1/invoices/issued/{number}")
def get_one(number: str, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """One invoice as it was issued, every line with its steps, parts and the query behind it."""
    return _document(_existing(number, platform, principal))


@router.get("/v1/invoices/issued/{number}/reproduction")
def get_reproduction(number: str, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """The invoice made again from the log: whether it is the same, bit by bit."""
    invoice = _existing(number, platform, principal)
    again = platform.commerce.invoices.reproduce(invoice)
    return {"number": number, "digest": invoice.digest, "reproduced_digest": again, "same": again == invoice.digest}


@router.post("/v1/invoices/issued/{number}/corrections", dependencies=[needs("plans:write")])
def post_correction(number: str, platform: PlatformDependency, principal: Caller) -> dict[str, Any]:
    """Enter what events that came late change, as lines of the next invoice; none where nothing changed."""
    vendor_only(principal)
    changes = platform.commerce.correct(_existing(number, platform, principal))
    if changes:
        platform.audit.record(principal.key_id, "invoice.correct", number, lines=len(changes))
    return {"number": number, "lines": changes}


@router.get("/v1/explanations")
def get_explanation(
    request: Request,
    billed: BilledDependency,
) -> Response:
    """How each line of a bill came about; as text where that is asked for (Accept: text/plain)."""
    document = bill_document(billed.bill(), billed.user, billed.period)
    if "text/plain" in request.headers.get("accept", ""):
        return PlainTextResponse(explained(document) + "\n")
    from fastapi.responses import JSONResponse

    return JSONResponse(document)


@router.get("/v1/counterfactuals")
def get_counterfactuals(
    platform: PlatformDependency,
    billed: BilledDependency,
    operation: str = "",
    micro_operation_type: Annotated[str, Query(alias="microOperationType")] = "",
    hour: Annotated[int | None, Query(ge=0, le=23)] = None,
    other_plan: str | None = None,
) -> dict[str, Any]:
    """What a bill would have been without a part of the usage, with it at another hour, or on another plan."""
    other = plan_of(platform, other_plan) if other_plan else None
    part = (operation, micro_operation_type)
    answers = what_happened.counterfactuals(platform, billed.user, billed.period, billed.plan, part, hour, other)
    return {
        "user": billed.user,
        "plan": {"id": billed.plan.id, "version": billed.plan.version},
        "currency": billed.plan.currency,
        "period": billed.span(),
        "operationID": operation or None,
        "microOperationType": micro_operation_type or None,
        "counterfactuals": [
            {
                "about": one.about,
                "total": str(one.total),
                "would_be": str(one.would_be),
                "difference": str(one.difference),
            }
            for one in answers
        ],
    }


@router.get("/v1/ledger")
def get_ledger(
    platform: PlatformDependency,
    principal: Caller,
    user: str | None = None,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> dict[str, Any]:
    """Transactions in the order they were entered; debits are positive, and each adds up to zero."""
    user = visible_user(principal, platform, user)
    entries = platform.commerce.journal.entries(user, after, limit)
    return {
        "transactions": [
            {
                "id": entry.id,
                "kind": entry.kind,
                "user": entry.user,
                "period": {"start": iso(entry.period.start_ns), "end": iso(entry.period.end_ns)},
                "at": iso(entry.at_ns),
                "memo": entry.memo or None,
                "postings": [
                    {"account": one.account, "line": one.line, "amount": str(one.amount), "currency": one.currency}
                    for one in entry.postings
                ],
            }
            for entry in entries
        ],
        "next": entries[-1].id if len(entries) == limit else None,
    }


def _existing(number: str, platform: Platform, principal: Caller) -> NumberedInvoice:
    found = platform.commerce.invoices.find(number)
    if found is None or (not principal.vendor and found.user != principal.tenant):
        raise ProblemError(404, f"no invoice {number!r:.60}; GET /v1/invoices/issued lists those there are")
    return found


def _head(invoice: NumberedInvoice) -> dict[str, Any]:
    return {
        "number": invoice.number,
        "user": invoice.user,
        "period": {"start": iso(invoice.period.start_ns), "end": iso(invoice.period.end_ns)},
        "total": str(invoice.total),
        "amount_due": invoice.document["amount_due"],
        "currency": invoice.currency,
        "digest": invoice.digest,
    }


def _document(invoice: NumberedInvoice) -> dict[str, Any]:
    return dict(invoice.document) | {"digest": invoice.digest}
