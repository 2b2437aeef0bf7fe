"""Budgets: an amount a user and billing period, when to alert, and whether reaching it is a limit."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from serving.storage.tables import Tables

_TABLES = (
    "CREATE TABLE IF NOT EXISTS budgets (user_id TEXT PRIMARY KEY, amount TEXT NOT NULL, currency TEXT NOT NULL, "
    "changed_s DOUBLE PRECISION NOT NULL)",
    "CREATE TABLE IF NOT EXISTS budget_rules (user_id TEXT PRIMARY KEY, spent TEXT NOT NULL, projected TEXT, "
    "margin TEXT NOT NULL, is_limit BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS budget_alerts (user_id TEXT NOT NULL, rule TEXT NOT NULL, start_ns BIGINT NOT NULL, "
    "raised BIGINT NOT NULL, times BIGINT NOT NULL, changed_ns BIGINT NOT NULL, PRIMARY KEY (user_id, rule, start_ns))",
)
_QUERY = (
    "SELECT b.user_id, b.amount, b.currency, b.changed_s, r.spent, r.projected, r.margin, r.is_limit "
    "FROM budgets b LEFT JOIN budget_rules r ON r.user_id = b.user_id"
)


@dataclass(frozen=True, slots=True)
class AlertRules:
    """Alerts at shares of the budget that are spent, and at a probability that it will be exceeded (None: never).

    An alert is raised at its threshold and again only after the value has fallen ``margin`` below it. With ``limit``
    the platform says that a user who has spent the budget may go no further.
    """

    spent: tuple[Decimal, ...] = (Decimal("0.5"), Decimal("0.8"), Decimal(1))
    projected: Decimal | None = Decimal("0.5")
    margin: Decimal = Decimal("0.1")
    limit: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for shares, probabilities and margins that cannot be."""
        if any(not 0 < share <= 10 for share in self.spent) or not 0 <= self.margin < 1:
            raise ValueError("shares spent must be above 0 and at most 10, the margin from 0 up to below 1")
        if self.projected is not None and not 0 < self.projected <= 1:
            raise ValueError(f"a probability of {self.projected}; it must be above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a user means to spend at most in a billing period."""

    user: str
    amount: Decimal
    currency: str
    changed_s: float
    rules: AlertRules = field(default_factory=AlertRules)


class BudgetStore:
    """The budgets of one data directory, and which alerts are raised."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        tables.create(*_TABLES)

    def find(self, user: str) -> Budget | None:
        """The budget of a user."""
        rows = self.tables.rows(f"{_QUERY} WHERE b.user_id = ?", (user,))
        return _budget(rows[0]) if rows else None

    def every(self) -> list[Budget]:
        """All budgets by user."""
        return [_budget(row) for row in self.tables.rows(f"{_QUERY} ORDER BY b.user_id")]

    def put(self, user: str, amount: Decimal, currency: str, rules: AlertRules | None = None) -> Budget:
        """Set or replace a budget; raises ValueError for an amount that is not finite and above zero."""
        if not amount.is_finite() or amount <= 0:
            raise ValueError(f"a budget of {amount}; it must be above 0")
        budget = Budget(user, amount, currency, time.time(), rules or AlertRules())
        kept = budget.rules
        with self.tables.transaction():
            self.tables.write(
                "INSERT INTO budgets (user_id, amount, currency, changed_s) VALUES (?, ?, ?, ?) ON CONFLICT (user_id) "
                "DO UPDATE SET amount = excluded.amount, currency = excluded.currency, changed_s = excluded.changed_s",
                (user, str(amount), currency, budget.changed_s),
            )
            self.tables.write(
                "INSERT INTO budget_rules (user_id, spent, projected, margin, is_limit) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (user_id) DO UPDATE SET spent = excluded.spent, projected = excluded.projected, "
                "margin = excluded.margin, is_limit = excluded.is_limit",
                (
                    user,
                    json.dumps([str(share) for share in kept.spent]),
                    None if kept.projected is None else str(kept.projected),
                    str(kept.margin),
                    int(kept.limit),
                ),
            )
        return budget

    def remove(self, user: str) -> bool:
        """Take a budget away with its alerts; False when there was none."""
        with self.tables.transaction():
            self.tables.write("DELETE FROM budget_rules WHERE user_id = ?", (user,))
            self.tables.write("DELETE FROM budget_alerts WHERE user_id = ?", (user,))
            return self.tables.write("DELETE FROM budgets WHERE user_id = ?", (user,)) == 1

    def raised(self, user: str, start_ns: int) -> dict[str, bool]:
        """Which alerts of a period are raised (or were, and were cleared), by rule."""
        rows = self.tables.rows(
            "SELECT rule, raised FROM budget_alerts WHERE user_id = ? AND start_ns = ? ORDER BY rule", (user, start_ns)
        )
        return {rule: bool(raised) for rule, raised in rows}

    def mark(self, user: str, rule: str, start_ns: int, raised: bool, now_ns: int) -> int | None:
        """Note that an alert was raised or cleared; returns how often it was raised in this period.

        None where it stands so already: of several servers that find the same, one is told that it was the first.
        """
        with self.tables.transaction():
            changed = self.tables.write(
                "INSERT INTO budget_alerts (user_id, rule, start_ns, raised, times, changed_ns) "
                "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, rule, start_ns) DO UPDATE SET "
                "raised = excluded.raised, times = budget_alerts.times + excluded.times, "
                "changed_ns = excluded.changed_ns WHERE budget_alerts.raised <> excluded.raised",
                (user, rule, start_ns, int(raised), int(raised), now_ns),
            )
            if changed != 1:
                return None
            rows = self.tables.rows(
                "SELECT times FROM budget_alerts WHERE user_id = ? AND rule = ? AND start_ns = ?",
                (user, rule, start_ns),
            )
        return int(rows[0][0])


def _budget(row: tuple[Any, ...]) -> Budget:
    return Budget(row[0], Decimal(row[1]), row[2], row[3], _rules(row[4:]))


def _rules(row: Sequence[object]) -> AlertRules:
    spent, projected, margin, limit = row
    if spent is None:
        return AlertRules()
    shares = tuple(Decimal(share) for share in json.loads(str(spent)))
    chance = None if projected is None else Decimal(str(projected))
    return AlertRules(shares, chance, Decimal(str(margin)), bool(limit))
