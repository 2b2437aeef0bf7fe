"""The journal: transactions whose postings add up to zero, entered once, never changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from serving.pricing.usage import Period
from serving.storage.tables import Tables

_TABLES = (
    """
CREATE TABLE IF NOT EXISTS ledger_transactions (
    id BIGINT PRIMARY KEY,
    entry_key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    user_id TEXT NOT NULL,
    start_ns BIGINT NOT NULL,
    end_ns BIGINT NOT NULL,
    at_ns BIGINT NOT NULL,
    memo TEXT NOT NULL
)
""",
    "CREATE INDEX IF NOT EXISTS ledger_by_user ON ledger_transactions (user_id, start_ns)",
    """
CREATE TABLE IF NOT EXISTS ledger_postings (
    transaction_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    account TEXT NOT NULL,
    line TEXT NOT NULL,
    amount TEXT NOT NULL,
    currency TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (transaction_id, number)
)
""",
    "CREATE INDEX IF NOT EXISTS ledger_by_account ON ledger_postings (account)",
)
KINDS = ("usage", "credit", "adjustment", "invoice", "correction")


class LedgerError(ValueError):
    """An entry that cannot be: postings that do not balance, or a key used for something else."""


@dataclass(frozen=True, slots=True)
class Posting:
    """An amount on an account, > 0 a debit and < 0 a credit; ``line`` is the invoice line that it is about."""

    account: str
    line: str
    amount: Decimal
    currency: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction of the journal, about a user and a period."""

    id: int
    key: str
    kind: str
    user: str
    period: Period
    at_ns: int
    memo: str
    postings: tuple[Posting, ...]


class Journal:
    """The journal of one data directory."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        tables.create(*_TABLES)

    def post(
        self, key: str, kind: str, user: str, period: Period, at_ns: int, postings: Sequence[Posting], memo: str = ""
    ) -> bool:
        """Enter a transaction in full; False when ``key`` was entered before, and nothing is changed.

        Raises LedgerError for an unknown kind, and for postings that do not add up to zero in every currency.
        """
        if kind not in KINDS:
            raise LedgerError(f"a transaction of kind {kind!r}; one of {', '.join(KINDS)}")
        sums: dict[str, Decimal] = {}
        for posting in postings:
            sums[posting.currency] = sums.get(posting.currency, Decimal(0)) + posting.amount
        uneven = {currency: amount for currency, amount in sums.items() if amount}
        if uneven or not postings:
            raise LedgerError(f"postings of {key!r} add up to {uneven or 'nothing'}; debits and credits must balance")
        with self.tables.transaction():
            if self.tables.rows("SELECT 1 FROM ledger_transactions WHERE entry_key = ?", (key,)):
                return False
            (number,) = self.tables.rows("SELECT coalesce(max(id), 0) + 1 FROM ledger_transactions")[0]
            self.tables.write(
                "INSERT INTO ledger_transactions (id, entry_key, kind, user_id, start_ns, end_ns, at_ns, memo) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (number, key, kind, user, period.start_ns, period.end_ns, at_ns, memo),
            )
            for place, posting in enumerate(postings):
                self.tables.write(
                    "INSERT INTO ledger_postings (transaction_id, number, account, line, amount, currency, detail) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        number,
                        place,
                        posting.account,
                        posting.line,
                        str(posting.amount),
                        posting.currency,
                        json.dumps(posting.detail, sort_keys=True),
                    ),
                )
        return True

    def invoiced(self, user: str, period: Period) -> bool:
        """Whether the balance of exactly this period was moved to an invoice."""
        query = (
            "SELECT 1 FROM ledger_transactions WHERE user_id = ? AND kind = 'invoice' AND start_ns = ? AND end_ns = ?"
        )
        return bool(self.tables.rows(query, (user, period.start_ns, period.end_ns)))

    def balance(self, account: str, period: Period | None = None) -> dict[str, Decimal]:
        """The balance of an account by line, in all or of transactions about one period."""
        query = "SELECT p.line, p.amount FROM ledger_postings p"
        values: tuple[Any, ...] = (account,)
        if period is None:
            query += " WHERE p.account = ?"
        else:
            query += (
                " JOIN ledger_transactions t ON t.id = p.transaction_id"
                " WHERE p.account = ? AND t.start_ns = ? AND t.end_ns = ?"
            )
            values += (period.start_ns, period.end_ns)
        sums: dict[str, Decimal] = {}
        for line, amount in self.tables.rows(query, values):
            sums[line] = sums.get(line, Decimal(0)) + Decimal(amount)
        return sums

    def entries(self, user: str | None = None, after: int = 0, limit: int = 1_000) -> list[Entry]:
        """Transactions in the order they were entered, those after a number."""
        mine = "" if user is None else " AND user_id = ?"
        heads = self.tables.rows(
            "SELECT id, entry_key, kind, user_id, start_ns, end_ns, at_ns, memo FROM ledger_transactions "  # noqa: S608
            f"WHERE id > ?{mine} ORDER BY id LIMIT ?",
            (after, *(() if user is None else (user,)), limit),
        )
        return [
            Entry(
                int(row[0]),
                row[1],
                row[2],
                row[3],
                Period(int(row[4]), int(row[5])),
                int(row[6]),
                row[7],
                self._postings(int(row[0])),
            )
            for row in heads
        ]

    def _postings(self, transaction: int) -> tuple[Posting, ...]:
        rows = self.tables.rows(
            "SELECT account, line, amount, currency, detail FROM ledger_postings WHERE transaction_id = ? "
            "ORDER BY number",
            (transaction,),
        )
        return tuple(
            Posting(account, line, Decimal(amount), currency, json.loads(detail))
            for account, line, amount, currency, detail in rows
        )
