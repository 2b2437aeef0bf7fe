"""What holds for single customers: their plan, the highest factor they pay, and prepaid credits."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.modifiers.credit import Credit
from serving.storage.tables import Tables

_TABLES = (
    """
CREATE TABLE IF NOT EXISTS customer_terms (
    user_id TEXT PRIMARY KEY,
    plan_id TEXT,
    maximum_factor TEXT
)
""",
    """
CREATE TABLE IF NOT EXISTS prepaid_credits (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    amount TEXT NOT NULL,
    currency TEXT NOT NULL,
    priority BIGINT NOT NULL,
    expires_ns BIGINT,
    granted_ns BIGINT NOT NULL
)
""",
)


@dataclass(frozen=True, slots=True)
class Terms:
    """A customer's plan (None: the default one) and own maximum factor (None: what the plan caps)."""

    plan_id: str | None = None
    maximum_factor: Decimal | None = None


class CustomerTerms:
    """Terms of the customers of one data directory; credits are granted here and used up by invoices."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        tables.create(*_TABLES)

    def of(self, user: str) -> Terms:
        """The terms of a customer."""
        rows = self._tables.rows("SELECT plan_id, maximum_factor FROM customer_terms WHERE user_id = ?", (user,))
        return Terms(rows[0][0], None if rows[0][1] is None else Decimal(rows[0][1])) if rows else Terms()

    def put(self, user: str, terms: Terms) -> None:
        """Set them; raises ValueError for a maximum factor below 1, as list prices are always due."""
        factor = terms.maximum_factor
        if factor is not None and (not factor.is_finite() or factor < 1):
            raise ValueError(f"a maximum factor of {factor}; it must be 1 (the list price) or more")
        self._tables.write(
            "INSERT INTO customer_terms (user_id, plan_id, maximum_factor) VALUES (?, ?, ?) ON CONFLICT (user_id) "
            "DO UPDATE SET plan_id = excluded.plan_id, maximum_factor = excluded.maximum_factor",
            (user, terms.plan_id, None if factor is None else str(factor)),
        )

    def grant(self, user: str, credit: Credit, currency: str, granted_ns: int) -> None:
        """Give a customer a prepaid credit; raises ValueError for an id that was used or no amount."""
        if not credit.balance.is_finite() or credit.balance <= 0:
            raise ValueError(f"a credit of {credit.balance}; it must be above 0")
        changed = self._tables.write(
            "INSERT INTO prepaid_credits (id, user_id, amount, currency, priority, expires_ns, granted_ns) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (credit.id, user, str(credit.balance), currency, credit.priority, credit.expires_ns, granted_ns),
        )
        if changed != 1:
            raise ValueError(f"credit {credit.id!r} was granted before; give the new one an id of its own")

    def granted(self, user: str, currency: str) -> list[Credit]:
        """Credits of a customer with the amounts that were granted; what is left of them the ledger knows."""
        query = "SELECT id, amount, priority, expires_ns FROM prepaid_credits WHERE user_id = ? AND currency = ?"
        rows = self._tables.rows(f"{query} ORDER BY id", (user, currency))
        return [
            Credit(key, Decimal(amount), int(priority), None if expires is None else int(expires))
            for key, amount, priority, expires in rows
        ]
