"""A platform's data directory without its server: what was used, the champion, anomalies and plans, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from metercast.client import Table

from serving.alerts.store import AnomalyStore
from serving.champion import ChampionWatch
from serving.plans.plan_files import load_plans
from serving.pricing.plan import Plan
from serving.pricing.usage import Period
from serving.storage.history import History

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """What estimates rest on (`serving.estimating.estimates.Sources`) in a data directory, and its anomalies."""

    path: Path
    history: History
    champion: ChampionWatch
    plans: Mapping[str, Plan]
    anomaly_store: AnomalyStore

    @classmethod
    def open(cls, path: Path, plans: Path) -> Self:
        """Raises FileNotFoundError where no platform ever ran, PlanError for plans that cannot be read."""
        database = path / "metercast.db"
        if not database.is_file():
            raise FileNotFoundError(f"{path} has no metercast.db; make one with `metercast demo --data {path}`")
        champion = ChampionWatch(path / "models" / "champion")
        return cls(path, History(database), champion, load_plans(plans), AnomalyStore(database))

    def versions(self, plan_id: str, user: str, period: Period) -> list[Plan]:  # noqa: ARG002 -- those of any period
        """The one version of a plan, as it is for a customer: no platform published others to hold at other times."""
        return [self.plans[plan_id].of_customer(user)]

    def used_ns(self, window_s: int = 1) -> tuple[int, int]:
        """Start of the first and end of the last window with usage, in Unix nanoseconds; raises ValueError without."""
        starts = self.history.windows(window_s, 0, 2**62)["window_start"].cast(int)
        if starts.is_empty():
            raise ValueError(f"{self.path} has no windows of {window_s} s; send events first")
        first, last = starts.min(), starts.max()
        return int(first), int(last) + window_s * SECOND_NS  # type: ignore[arg-type]

    def anomalies(self, user: str | None = None) -> Table:
        """Anomalies with what they cost, dearest first, as a table."""
        found = sorted(self.anomaly_store.list(user, limit=1_000), key=lambda one: -(one.cost or 0))
        return Table(_row(one) for one in found)

    def _repr_html_(self) -> str:
        """Where it is, who used it, and which model is in force."""
        champion = self.champion.current()
        rows = [
            {"": "users", " ": ", ".join(self.history.users())},
            {
                "": "champion",
                " ": f"{champion[1]['name']}, version {champion[1]['version']}" if champion else "none yet",
            },
            {"": "plans", " ": ", ".join(self.plans)},
        ]
        return Table(rows)._repr_html_()


def _row(one: Any) -> dict[str, Any]:
    return {
        "started_ns": one.started_ns,
        "user": one.user,
        "operation": one.operation,
        "micro_operation_type": one.micro_operation_type,
        "resource": one.resource,
        "score": round(one.score, 2),
        "cost": one.cost,
        "currency": one.currency,
        "reason": one.reason,
    }
