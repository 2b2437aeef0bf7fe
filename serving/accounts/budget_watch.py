"""Watches budgets: compares them with the ledger and with the projection, and raises each alert once."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from serving.accounts.billing import Biller
from serving.accounts.budgets import Budget, BudgetStore
from serving.ledger.accrual import Accruals
from serving.pricing.usage import Period
from serving.recurring import Recurring
from serving.webhooks.store import WebhookStore

Projection = Callable[[str, str, Period, Decimal], Decimal | None]
"""The probability that a user's bill of a period under a plan exceeds an amount; None where it cannot be told."""


class BudgetWatch(Recurring):
    """A thread that brings the ledger up to date for users with a budget and tells webhooks what was reached."""

    def __init__(
        self,
        budgets: BudgetStore,
        accruals: Accruals,
        biller: Biller,
        webhooks: WebhookStore,
        projection: Projection,
        period: Callable[[int], Period],
        every_s: float = 30.0,
        projected_every_s: float = 300.0,
    ) -> None:
        """``period`` gives the billing period of an instant; projections, which are dear, are asked for less often."""
        self._budgets, self._accruals, self._biller, self._webhooks = budgets, accruals, biller, webhooks
        super().__init__("metercast-budgets", every_s, "budgets could not be looked at")
        self._projection, self._period = projection, period
        self._projected_every_ns = round(projected_every_s * 1e9)
        self._projected_ns: dict[tuple[str, Decimal], int] = {}

    def tick(self, now_ns: int) -> None:
        """Look at every budget once."""
        for budget in self._budgets.every():
            self.look(budget, now_ns)

    def spent(self, budget: Budget, now_ns: int) -> Decimal:
        """What the ledger says was spent in the period, brought up to date first."""
        return self._accruals.bring_up(budget.user, self._biller.plan_of(budget.user), self._period(now_ns), now_ns)

    def look(self, budget: Budget, now_ns: int) -> None:
        """Raise and clear the alerts of one budget."""
        period = self._period(now_ns)
        spent = self.spent(budget, now_ns)
        share = spent / budget.amount
        for threshold in budget.rules.spent:
            self._decide(budget, period, f"spent:{threshold}", share, threshold, now_ns)
        if budget.rules.limit:
            self._decide(budget, period, "limit", share, Decimal(1), now_ns)
        if budget.rules.projected is not None and self._due(budget, now_ns):
            plan_id = self._biller.plan_of(budget.user)
            chance = self._projection(budget.user, plan_id, period, budget.amount)
            if chance is not None:
                self._decide(budget, period, "projected", chance, budget.rules.projected, now_ns)

    def _due(self, budget: Budget, now_ns: int) -> bool:
        key = (budget.user, budget.amount)
        if now_ns - self._projected_ns.get(key, 0) < self._projected_every_ns:
            return False
        self._projected_ns[key] = now_ns
        return True

    def _decide(
        self, budget: Budget, period: Period, rule: str, value: Decimal, threshold: Decimal, now_ns: int
    ) -> None:
        raised = self._budgets.raised(budget.user, period.start_ns).get(rule, False)
        if raised == (value >= threshold) or (raised and value >= threshold - budget.rules.margin):
            return
        kinds = {"limit": "budget.limit_reached", "projected": "budget.projected"}
        kind = "budget.cleared" if raised else kinds.get(rule, "budget.spent")
        word = "cleared" if raised else "raised"
        data = {
            "budget": {"amount": str(budget.amount), "currency": budget.currency},
            "rule": rule,
            "value": f"{value:.4f}",
            "threshold": str(threshold),
            "period": {"start_ns": period.start_ns, "end_ns": period.end_ns},
        }
        with self._budgets.tables.transaction():  # an alert is noted and told, or neither
            times = self._budgets.mark(budget.user, rule, period.start_ns, not raised, now_ns)
            if times is not None:  # None: another server was first, and tells
                event_id = f"budget:{budget.user}:{rule}:{period.start_ns}:{word}:{times}"
                self._webhooks.publish(event_id, kind, budget.user, data, now_ns)
