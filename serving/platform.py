"""The running platform: log, engine, history, anomalies, champion and plans, wired together once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from features.sqlite_log import SqliteEventLog
from serving.alerts.hook import DetectionHook
from serving.alerts.store import AnomalyStore
from serving.champion import ChampionWatch
from serving.engine.worker import EngineWorker
from serving.ingest.committer import GroupCommitter
from serving.plan_files import PlanError, load_plans
from serving.pricing.paths import UsageColumn, rate_paths
from serving.pricing.plan import Plan
from serving.settings import Settings
from serving.storage.history import History


class Platform:
    """Everything behind the API of one server; `start` begins the engine, `stop` ends it and closes the log."""

    def __init__(self, settings: Settings) -> None:
        """Open the data directory, making it where it is missing; raises PlanError for plans that cannot be read."""
        self.settings = settings
        self.plans: Mapping[str, Plan] = load_plans(settings.plans)
        if settings.default_plan not in self.plans:
            raise PlanError(
                f"no plan {settings.default_plan!r} in {settings.plans}; there are {', '.join(self.plans) or 'none'}"
            )
        settings.data.mkdir(parents=True, exist_ok=True)
        self.log = SqliteEventLog(settings.database)
        self.committer = GroupCommitter(self.log)
        self.history = History(settings.database)
        self.anomalies = AnomalyStore(settings.database)
        self.champion = ChampionWatch(settings.data / "models" / "champion")
        hook = DetectionHook(settings.detect_window_s, price=excess_price(self.plans[settings.default_plan]))
        self.worker = EngineWorker(self.log, settings.database, settings.windows_s, settings.lateness_s, [hook])

    def start(self) -> None:
        """Begin to turn the log into windows."""
        self.worker.start()

    def stop(self) -> None:
        """Finish the step at hand and close the log."""
        self.worker.stop()
        self.log.close()


class excess_price:  # noqa: N801 -- a function with a plan in it
    """Price of usage beyond the expected, at the plan's own prices without minimums, maximums and flat fees."""

    def __init__(self, plan: Plan) -> None:
        self._plan = replace(
            plan,
            charges=tuple(
                replace(charge, minimum=None, maximum=None) for charge in plan.charges if charge.meter is not None
            ),
        )

    def __call__(self, operation: str, excess: Mapping[tuple[str, str], float]) -> tuple[Decimal, str]:
        """Amount, unrounded lines of which are rounded once each, and currency."""
        columns = [UsageColumn(operation, micro, resource) for micro, resource in excess]
        with_it = rate_paths(self._plan, columns, [list(excess.values()), [0.0] * len(columns)])
        return with_it.totals[0] - with_it.totals[1], self._plan.currency
