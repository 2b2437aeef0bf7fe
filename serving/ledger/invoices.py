"""Invoices: a period closed from the log under a number, immutable, made again bit by bit, corrected by new lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from serving.accounts.billing import Biller, UsageReader
from serving.ledger.accrual import Accruals
from serving.ledger.documents import bill_document, canonical, digest, iso, lines_of
from serving.ledger.journal import Journal, Posting
from serving.pricing.modifiers.credit import Credit
from serving.pricing.plan import Plan
from serving.pricing.usage import Period
from serving.pricing.versions import SplitInvoice
from serving.storage.tables import Tables

NANOSECONDS = 1_000_000_000
_TABLE = """
CREATE TABLE IF NOT EXISTS invoices (
    sequence BIGINT PRIMARY KEY,
    number TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL,
    start_ns BIGINT NOT NULL,
    end_ns BIGINT NOT NULL,
    total TEXT NOT NULL,
    currency TEXT NOT NULL,
    body TEXT NOT NULL,
    digest TEXT NOT NULL,
    closed_ns BIGINT NOT NULL
)
"""
_QUERY = "SELECT number, user_id, start_ns, end_ns, total, currency, body, digest, closed_ns FROM invoices"
Credited = Callable[[SplitInvoice, Sequence[Plan], str, int], SplitInvoice]
"""A bill with what broken service levels are owed, measured in the log up to an offset."""
LogSource = Callable[[str, Period, int], UsageReader]
"""The usage of a user in a period from the log up to an offset."""


class InvoiceError(ValueError):
    """A period that cannot be closed; ``status`` is that of HTTP for it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class NumberedInvoice:
    """An invoice as it was issued."""

    number: str
    user: str
    period: Period
    total: Decimal
    currency: str
    document: Mapping[str, Any]
    digest: str
    closed_ns: int


class Invoices:
    """Issues and keeps the invoices of one data directory."""

    def __init__(
        self,
        tables: Tables,
        journal: Journal,
        accruals: Accruals,
        biller: Biller,
        source: LogSource,
        credited: Credited,
    ) -> None:
        self._tables, self._journal, self._accruals = tables, journal, accruals
        self._biller, self._source, self._credited = biller, source, credited
        self.largest_difference = Decimal(0)
        tables.create(_TABLE)

    def close(self, user: str, period: Period, log_offset: int, now_ns: int) -> NumberedInvoice:
        """Rate the period from the log up to an offset and issue its invoice.

        Raises InvoiceError for a period that has not ended or overlaps one that was invoiced.
        """
        if now_ns < period.end_ns:
            raise InvoiceError(409, "the period has not ended; an invoice closes a period that has")
        self._refuse_overlap(user, period)
        plan_id = self._biller.plan_of(user)
        versions = self._biller.versions(plan_id, user, period)
        maximum = self._biller.conditions(versions, user, period).maximum_factor
        basis: dict[str, Any] = {
            "log_offset": log_offset,
            "plan": plan_id,
            "versions": [plan.version for plan in versions],
            "maximum_factor": None if maximum is None else str(maximum),
            "credits": self._credits(user, plan_id, period),
        }
        while True:
            bill = self._rated(user, period, basis, log_offset)
            # Rating takes long and keeps nobody out; what another server did meanwhile is looked at before it counts.
            with self._tables.transaction():
                self._refuse_overlap(user, period)
                credits = self._credits(user, plan_id, period)
                if credits == basis["credits"]:
                    self._accrue(user, plan_id, period, bill, now_ns)
                    return self._issue(user, period, bill, basis, now_ns)
            basis["credits"] = credits

    def every(self, user: str | None = None) -> list[NumberedInvoice]:
        """Invoices in the order of their numbers, of one user or of all."""
        mine = "" if user is None else " WHERE user_id = ?"
        rows = self._tables.rows(f"{_QUERY}{mine} ORDER BY sequence", () if user is None else (user,))
        return [_read(row) for row in rows]

    def find(self, number: str) -> NumberedInvoice | None:
        """The invoice of a number."""
        rows = self._tables.rows(f"{_QUERY} WHERE number = ?", (number,))
        return _read(rows[0]) if rows else None

    def reproduce(self, invoice: NumberedInvoice) -> str:
        """The digest of the invoice made again from the log, the plan versions and the prices that it rests on."""
        basis = invoice.document["basis"]
        bill = self._rated(invoice.user, invoice.period, basis, basis["log_offset"])
        kept = {name: invoice.document[name] for name in ("basis", "corrections", "number", "amount_due", "issued")}
        return digest(canonical(bill_document(bill, invoice.user, invoice.period) | kept))

    def correct(self, invoice: NumberedInvoice, log_offset: int, now_ns: int) -> list[dict[str, Any]]:
        """Enter what events that came late change: every line that differs is reversed in full and entered anew.

        The lines stand on the user's next invoice. Correcting again with nothing new changes nothing.
        """
        basis = invoice.document["basis"]
        bill = self._rated(invoice.user, invoice.period, basis, log_offset)
        now = _amounts(bill_document(bill, invoice.user, invoice.period))
        with self._tables.transaction():  # two servers that correct at once enter a difference once
            return self._enter(invoice, now, log_offset, now_ns)

    def _enter(
        self, invoice: NumberedInvoice, now: Mapping[str, Decimal], log_offset: int, now_ns: int
    ) -> list[dict[str, Any]]:
        """Enter the difference between an invoice's corrected lines and what they should be; returns its lines."""
        was = self._corrected(invoice)
        changes = []
        for name in sorted({*was, *now}):
            old, new = was.get(name, Decimal(0)), now.get(name, Decimal(0))
            for word, amount in (("Reversal", -old), ("Correction", new)) if old != new else ():
                if amount:
                    about = f"{word} of {name} of invoice {invoice.number}"
                    changes.append({"id": name, "invoice": invoice.number, "description": about, "amount": str(amount)})
        if changes:
            account, against = f"corrections:{invoice.user}", f"revenue:{invoice.document['basis']['plan']}"
            pairs = [(one, Decimal(one["amount"])) for one in changes]
            postings = [Posting(account, one["id"], amount, invoice.currency, one) for one, amount in pairs]
            postings += [Posting(against, one["id"], -amount, invoice.currency) for one, amount in pairs]
            key = f"correction:{invoice.number}:{log_offset}"
            self._journal.post(key, "correction", invoice.user, invoice.period, now_ns, postings, "late events")
        return changes

    def _credits(self, user: str, plan_id: str, period: Period) -> list[list[Any]]:
        """What is left of prepaid credits, as an invoice's basis keeps it."""
        return [
            [one.id, str(one.balance), one.priority, one.expires_ns]
            for one in self._accruals.credits(user, plan_id, period)
        ]

    def _accrue(self, user: str, plan_id: str, period: Period, bill: SplitInvoice, now_ns: int) -> None:
        """Make the ledger say what the invoice says, and note by how much it said something else."""
        seen = self._journal.balance(f"unbilled:{user}", period)
        total = self._accruals.post(user, plan_id, period, bill, now_ns)
        if seen:
            owed = sum((line.amount for line in bill.lines if line.kind == "sla_credit"), Decimal(0))
            gap = abs(total - owed - sum(seen.values(), Decimal(0)))
            self.largest_difference = max(self.largest_difference, gap)

    def _refuse_overlap(self, user: str, period: Period) -> None:
        query = "SELECT number FROM invoices WHERE user_id = ? AND start_ns < ? AND end_ns > ? ORDER BY sequence"
        for (number,) in self._tables.rows(query, (user, period.end_ns, period.start_ns)):
            raise InvoiceError(409, f"invoice {number} is about a part of this period; close what it leaves")

    def _rated(self, user: str, period: Period, basis: Mapping[str, Any], log_offset: int) -> SplitInvoice:
        """The bill of a period on a basis: plan versions, credits, maximum, and the log up to an offset."""
        versions = [
            one for one in self._biller.versions(basis["plan"], user, period) if one.version in basis["versions"]
        ]
        maximum = basis["maximum_factor"]
        conditions = replace(
            self._biller.conditions(versions, user, period),
            maximum_factor=None if maximum is None else Decimal(maximum),
        )
        credits = [Credit(key, Decimal(left), priority, ends) for key, left, priority, ends in basis["credits"]]
        reader = self._source(user, period, log_offset)
        bill = self._biller.under(versions, user, period, reader, credits, conditions)
        return self._credited(bill, versions, user, log_offset)

    def _issue(
        self, user: str, period: Period, bill: SplitInvoice, basis: Mapping[str, Any], now_ns: int
    ) -> NumberedInvoice:
        """Number and keep the invoice and move its balance, inside the transaction of `close`."""
        (sequence,) = self._tables.rows("SELECT coalesce(max(sequence), 0) + 1 FROM invoices")[0]
        number = f"INV-{datetime.fromtimestamp(period.start_ns / NANOSECONDS, UTC):%Y}-{int(sequence):06d}"
        pending = self._pending(user)
        due = bill.total + sum((Decimal(one["amount"]) for one in pending), Decimal(0))
        document = bill_document(bill, user, period) | {
            "number": number,
            "issued": iso(now_ns),
            "basis": dict(basis),
            "corrections": pending,
            "amount_due": str(due),
        }
        body = canonical(document)
        self._tables.write(
            "INSERT INTO invoices (sequence, number, user_id, start_ns, end_ns, total, currency, body, digest, "
            "closed_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(sequence, number, user, period.start_ns, period.end_ns, str(bill.total), bill.currency),
                *(body, digest(body), now_ns),
            ),
        )
        self._move(user, period, number, bill.currency, pending, now_ns)
        found = self.find(number)
        assert found is not None
        return found

    def _move(
        self,
        user: str,
        period: Period,
        number: str,
        currency: str,
        pending: Sequence[Mapping[str, Any]],
        now_ns: int,
    ) -> None:
        """From unbilled (and corrections) to receivable; an invoice of nothing moves nothing but is noted."""
        moved = [
            (f"unbilled:{user}", name, amount)
            for name, amount in self._journal.balance(f"unbilled:{user}", period).items()
        ]
        moved += [(f"corrections:{user}", one["id"], Decimal(one["amount"])) for one in pending]
        moved = moved or [(f"unbilled:{user}", "", Decimal(0))]
        postings = [Posting(account, line, -amount, currency) for account, line, amount in moved]
        postings += [Posting(f"receivable:{user}", line, amount, currency) for _, line, amount in moved]
        self._journal.post(f"invoice:{number}", "invoice", user, period, now_ns, postings, number)

    def _pending(self, user: str) -> list[dict[str, Any]]:
        """Corrections that were entered since the user's last invoice."""
        pending: list[dict[str, Any]] = []
        for entry in self._journal.entries(user, limit=1_000_000):
            if entry.kind == "invoice":
                pending = []
            elif entry.kind == "correction":
                pending += [dict(one.detail) for one in entry.postings if one.account == f"corrections:{user}"]
        return pending

    def _corrected(self, invoice: NumberedInvoice) -> dict[str, Decimal]:
        """The amounts of an invoice's lines with every correction so far."""
        amounts = _amounts(invoice.document)
        for entry in self._journal.entries(invoice.user, limit=1_000_000):
            for one in entry.postings if entry.kind == "correction" else ():
                if one.detail.get("invoice") == invoice.number:
                    amounts[one.line] = amounts.get(one.line, Decimal(0)) + one.amount
        return {name: amount for name, amount in amounts.items() if amount}


def _amounts(document: Mapping[str, Any]) -> dict[str, Decimal]:
    amounts: dict[str, Decimal] = {}
    for line in lines_of(document):
        amounts[line["id"]] = amounts.get(line["id"], Decimal(0)) + Decimal(line["amount"])
    return {name: amount for name, amount in amounts.items() if amount}


def _read(row: tuple[Any, ...]) -> NumberedInvoice:
    number, user, start_ns, end_ns, total, currency, body, checksum, closed_ns = row
    period = Period(int(start_ns), int(end_ns))
    return NumberedInvoice(number, user, period, Decimal(total), currency, json.loads(body), checksum, int(closed_ns))
