"""Plans compared on past usage: what each customer would have paid, what the vendor would have earned, and a guard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from serving.accounts.billing import Biller, HistoryReader, read_usage
from serving.pricing.money import rounded
from serving.pricing.plan import Plan
from serving.pricing.usage import Period, UsageRecord
from serving.pricing.versions import held_from, rate_versions
from serving.storage.history import History

LARGEST_SCALE, HALVINGS = Decimal(1_000), 30


@dataclass(frozen=True, slots=True)
class Change:
    """What one customer would have paid under the two plans."""

    user: str
    before: Decimal
    after: Decimal

    @property
    def percent(self) -> Decimal | None:
        """The change in percent of what was paid; None where nothing was paid before and something after."""
        if self.before == 0:
            return Decimal(0) if self.after == 0 else None
        return 100 * (self.after - self.before) / self.before


class PlanComparison:
    """Re-rates a period of the past under plans, each as it would be for each customer.

    A plan given by its id is rated as it is invoiced, each part of the period under the version that held in it; a
    `Plan` is rated as if this version had held all the time.
    """

    def __init__(self, history: History, biller: Biller, windows_s: Sequence[int]) -> None:
        self._history, self._biller, self._windows_s = history, biller, tuple(windows_s)

    def total(self, plan: Plan | str, user: str, period: Period) -> Decimal:
        """The bill of a customer for the whole period."""
        reader = HistoryReader(self._history, user)
        return self._biller.under(self._versions(plan, user, period), user, period, reader).total

    def changes(self, before: Plan | str, after: Plan | str, users: Sequence[str], period: Period) -> list[Change]:
        """Both bills of every customer; raises ValueError for plans of different currencies."""
        (one, priced), (other, would_be) = map(self._named, (before, after))
        if priced != would_be:
            raise ValueError(f"{one!r} is in {priced} and {other!r} in {would_be}; compare one")
        return [Change(user, self.total(before, user, period), self.total(after, user, period)) for user in users]

    def break_even(self, one: Plan | str, other: Plan | str, user: str, period: Period) -> dict[str, str] | None:
        """The smallest multiple of a customer's usage at which the cheaper plan changes; None up to 1000 times."""

        def lead(scale: Decimal) -> Decimal:
            return self._scaled(one, user, period, scale) - self._scaled(other, user, period, scale)

        low, begin = Decimal(0), lead(Decimal(0))
        high = Decimal("0.01")
        while (lead(high) > 0) == (begin > 0):
            low, high = high, high * 2
            if high > LARGEST_SCALE:
                return None
        for _ in range(HALVINGS):
            centre = (low + high) / 2
            low, high = (low, centre) if (lead(centre) > 0) != (begin > 0) else (centre, high)
        names = (self._named(one)[0], self._named(other)[0])
        below, above = names[::-1] if begin > 0 else names
        return {"usage_times": f"{high:.4f}", "cheaper_below": below, "cheaper_above": above}

    def _scaled(self, plan: Plan | str, user: str, period: Period, scale: Decimal) -> Decimal:
        held = held_from(self._versions(plan, user, period), period.start_ns)
        conditions = self._biller.conditions(held, user, period)
        usage = read_usage(held, period, HistoryReader(self._history, user), self._windows_s, conditions)
        return rate_versions(held, [_times(record, scale) for record in usage], period, conditions).total

    def _versions(self, plan: Plan | str, user: str, period: Period) -> list[Plan]:
        return [plan.of_customer(user)] if isinstance(plan, Plan) else self._biller.versions(plan, user, period)

    def _named(self, plan: Plan | str) -> tuple[str, str]:
        """Id and currency."""
        return (plan.id, plan.currency) if isinstance(plan, Plan) else (plan, self._biller.currency_of(plan))


def revenue(changes: Sequence[Change], currency: str, guard_percent: Decimal | None = None) -> dict[str, Any]:
    """The vendor's view: revenue under both plans, the spread of changes, and whether a guard is exceeded.

    The guard is on the 95th percentile of the customers' changes in percent; a customer who would pay for what was
    free before counts as one above it.
    """
    before = sum((one.before for one in changes), Decimal(0))
    after = sum((one.after for one in changes), Decimal(0))
    known = sorted(one.percent if one.percent is not None else Decimal("Infinity") for one in changes)
    spread = {f"p{level}": _shown(_quantile(known, level)) for level in (5, 50, 95)} if known else {}
    document: dict[str, Any] = {
        "compared": len(changes),
        "currency": currency,
        "revenue_before": str(rounded(before, currency)),
        "revenue_after": str(rounded(after, currency)),
        "change_percent": spread,
        "pay_more": sum(one.after > one.before for one in changes),
        "pay_less": sum(one.after < one.before for one in changes),
    }
    if guard_percent is not None:
        exceeded = bool(known) and _quantile(known, 95) > guard_percent
        document["guard"] = {"limit_percent": str(guard_percent), "exceeded": exceeded}
    return document


def customers(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """One row a customer, those who would pay most more first."""
    rows = sorted(changes, key=lambda one: (one.before - one.after, one.user))
    return [
        {
            "user": one.user,
            "before": str(one.before),
            "after": str(one.after),
            "change": str(one.after - one.before),
            "change_percent": None if one.percent is None else f"{one.percent:.2f}",
        }
        for one in rows
    ]


def _quantile(values: Sequence[Decimal], level: int) -> Decimal:
    """The smallest value that at least ``level`` percent of the values do not exceed."""
    return values[max(0, -(-len(values) * level // 100) - 1)]


def _shown(value: Decimal) -> str:
    return f"{value:.2f}" if value.is_finite() else "was free before"


def _times(record: UsageRecord, scale: Decimal) -> UsageRecord:
    scaled = {name: (value * scale).quantize(Decimal("0.000001")) for name, value in record.quantities.items()}
    return replace(record, quantities=scaled)
