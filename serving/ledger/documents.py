"""Invoices as documents: canonical JSON with a digest, and how every line came about as JSON and as text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from serving.pricing.line import Line
from serving.pricing.usage import Period
from serving.pricing.versions import SplitInvoice

NANOSECONDS = 1_000_000_000


def line_document(line: Line, user: str, period: Period) -> dict[str, Any]:
    """A line with its steps, its rounding, its parts, and the query that lists the usage behind it."""
    return {
        "id": line.id,
        "description": line.description,
        "kind": line.kind,
        "meter": line.meter or None,
        "quantity": f"{line.quantity.normalize():f}",
        "formula": line.formula,
        "steps": [
            {"label": step.label or None, "formula": step.formula, "amount": f"{step.amount.normalize():f}"}
            for step in line.steps
        ],
        "precise_amount": f"{line.precise_amount.normalize():f}",
        "rounding": f"{(line.amount - line.precise_amount).normalize():f}",
        "amount": str(line.amount),
        "tax_code": line.tax_code or None,
        "parts": [
            {
                "operationID": operation or None,
                "microOperationType": micro or None,
                "amount": str(amount),
                "usage": usage_query(user, period, operation, micro) if operation else None,
            }
            for (operation, micro), amount in line.parts.items()
        ],
    }


def bill_document(bill: SplitInvoice, user: str, period: Period) -> dict[str, Any]:
    """A bill slice by slice, each under its version; the lines add up to the total exactly."""
    return {
        "user": user,
        "currency": bill.currency,
        "period": {"start": iso(period.start_ns), "end": iso(period.end_ns)},
        "total": str(bill.total),
        "slices": [
            {
                "plan": {"id": one.plan_id, "version": one.plan_version},
                "period": {"start": iso(one.period.start_ns), "end": iso(one.period.end_ns)},
                "lines": [line_document(line, user, one.period) for line in one.lines],
                "taxable": {code: str(amount) for code, amount in one.taxable().items()},
            }
            for one in bill.slices
        ],
    }


def lines_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All lines of a bill's document; names of lines of different slices are told apart by the version."""
    several = len(document["slices"]) > 1
    return [
        line | ({"id": f"{line['id']}@{one['plan']['version']}"} if several else {})
        for one in document["slices"]
        for line in one["lines"]
    ]


def usage_query(user: str, period: Period, operation: str, micro: str) -> str:
    """The request that lists the windows that a part was computed from."""
    ends = f"start={iso(period.start_ns)}&end={iso(period.end_ns)}"
    return f"/v1/usage?user={user}&operation={operation}&microOperationType={micro}&{ends}"


def explained(document: Mapping[str, Any]) -> str:
    """A bill as text that a customer can check by hand, line by line."""
    currency = document["currency"]
    rows = [f"Bill of {document['user']}, {document['period']['start']} to {document['period']['end']}"]
    for one in document["slices"]:
        rows.append(f"Plan {one['plan']['id']}, version {one['plan']['version']}")
        for line in one["lines"]:
            rows.append(f"  {line['description']} ({line['id']}): {line['amount']} {currency}")
            rows += _steps(line["steps"])
            rows.append(f"      = {line['precise_amount']}, rounded by {line['rounding']} to {line['amount']}")
            rows += [
                f"      of it {part['amount']}: {part['operationID']} {part['microOperationType']}"
                for part in line["parts"]
                if part["operationID"]
            ]
    return "\n".join([*rows, f"Total: {document['total']} {currency}"])


def _steps(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"      {step['formula']} = {step['amount']}" + (f" ({step['label']})" if step["label"] else "")
        for step in steps
    ]


def canonical(document: Mapping[str, Any]) -> str:
    """The one text of a document: keys sorted, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(text: str) -> str:
    """SHA-256 of a document's text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def iso(moment_ns: int) -> str:
    """A moment in RFC 3339, UTC."""
    whole = datetime.fromtimestamp(moment_ns // NANOSECONDS, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    rest = f"{moment_ns % NANOSECONDS:09d}".rstrip("0")
    return f"{whole}{'.' + rest if rest else ''}Z"
