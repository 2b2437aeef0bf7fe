"""The money gate: an episode becomes a page only when it costs enough to be worth a person's attention."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from serving.alerts.anomaly import Anomaly

HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Gate:
    """An episode pages once what it costs exceeds a share of what is usually spent in a day, and a least amount.

    ``share`` is of the daily spend of whom it concerns; ``least`` is in the plan's currency. What goes on will have
    cost more before a person has acted: an episode is judged by what it will have cost in an hour at its rate so far.
    The rate is taken over an hour at least and without its dearest window, as one high window is no rate. A drift and
    a price go on for days, so they are judged by what they cost in a day.
    """

    share: Decimal = Decimal("0.02")
    least: Decimal = Decimal(0)

    def lets(self, anomaly: Anomaly, daily_spend: float) -> bool:
        """Whether a person should be told; without prices, severity alone has decided."""
        if anomaly.cost is None:
            return True
        sustained = max(Decimal(0), anomaly.cost - anomaly.dearest_window)
        impact = anomaly.cost + sustained / max(Decimal(1), Decimal(f"{anomaly.hours:.9f}"))
        if anomaly.kind in ("drift", "price"):
            impact = (anomaly.cost_per_hour or Decimal(0)) * 24
        return impact >= max(self.least, self.share * Decimal(f"{daily_spend:.9f}")) and impact > 0
