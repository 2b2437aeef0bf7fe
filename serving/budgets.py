"""Budgets: one amount a user and billing period, kept exactly, for pages and alerts to compare with."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from decimal import Decimal

from features.database import Location, connect

_TABLE = """
CREATE TABLE IF NOT EXISTS budgets (
    user_id TEXT PRIMARY KEY,
    amount TEXT NOT NULL,
    currency TEXT NOT NULL,
    changed_s REAL NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a user means to spend at most in a billing period."""

    user: str
    amount: Decimal
    currency: str
    changed_s: float


class BudgetStore:
    """The budgets of one data directory."""

    def __init__(self, location: Location) -> None:
        """Open the database, making the table where it is missing."""
        self._lock = threading.Lock()
        self._connection = connect(location)
        self._connection.execute(_TABLE)

    def find(self, user: str) -> Budget | None:
        """The budget of a user."""
        return next((one for one in self.every() if one.user == user), None)

    def every(self) -> list[Budget]:
        """All budgets by user."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT user_id, amount, currency, changed_s FROM budgets ORDER BY user_id"
            ).fetchall()
        return [Budget(user, Decimal(amount), currency, changed_s) for user, amount, currency, changed_s in rows]

    def put(self, user: str, amount: Decimal, currency: str) -> Budget:
        """Set or replace a budget; raises ValueError for an amount that is not finite and above zero."""
        if not amount.is_finite() or amount <= 0:
            raise ValueError(f"a budget of {amount}; it must be above 0")
        budget = Budget(user, amount, currency, time.time())
        with self._lock:
            self._connection.execute(
                "INSERT INTO budgets VALUES (?, ?, ?, ?) ON CONFLICT (user_id) DO UPDATE SET "
                "amount = excluded.amount, currency = excluded.currency, changed_s = excluded.changed_s",
                (user, str(amount), currency, budget.changed_s),
            )
        return budget

    def remove(self, user: str) -> bool:
        """Take a budget away; False when there was none."""
        with self._lock:
            return self._connection.execute("DELETE FROM budgets WHERE user_id = ?", (user,)).rowcount == 1

    def close(self) -> None:
        """Release the database."""
        self._connection.close()
