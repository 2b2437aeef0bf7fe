"""The running platform: log, engine, history, anomalies, champion and plans, wired together once."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from features.log import open_log
from serving.access.audit import AuditLog
from serving.access.keys import KeyStore
from serving.access.limiter import Limiter
from serving.access.sessions import Sessions, session_secret
from serving.accuracy_store import AccuracyStore
from serving.alerts.hook import DetectionHook
from serving.alerts.store import AnomalyStore
from serving.budgets import BudgetStore
from serving.champion import ChampionWatch
from serving.drift_watch import DriftWatch
from serving.engine.worker import EngineWorker
from serving.estimate_service import EstimateService
from serving.ingest.committer import GroupCommitter
from serving.ingest.privacy import privacy_of
from serving.kept import Kept
from serving.live_windows import ClosedWindows
from serving.plan_files import PlanError, load_plans
from serving.pricing.paths import UsageColumn
from serving.pricing.plan import Plan
from serving.settings import Settings
from serving.storage.engine_store import DatabaseEngineStore
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
        self.log = open_log(settings.database)
        self.privacy = privacy_of(
            settings.pseudonym_keys, settings.pseudonym_map or settings.data / "identities.db", settings.never_stored
        )
        self.committer = GroupCommitter(self.log)
        self.history = History(settings.database)
        self.anomalies = AnomalyStore(settings.database)
        self.keys = KeyStore(settings.database)
        self.audit = AuditLog(settings.database)
        self.budgets = BudgetStore(settings.database)
        self.sessions = Sessions(session_secret(settings.data))
        self.limiter = Limiter(settings.requests_per_minute)
        self.champion = ChampionWatch(settings.data / "models" / "champion", settings.windows_s)
        hook = DetectionHook(settings.detect_window_s, price=excess_price(self.plans[settings.default_plan]))
        self.worker = EngineWorker(
            self.log, DatabaseEngineStore(settings.database), settings.windows_s, settings.lateness_s, [hook]
        )
        accuracy = AccuracyStore(settings.database)
        self.drift = DriftWatch(self.champion, self.history, self.worker.closed_until_ns, accuracy)
        self.estimates = EstimateService(self, self.worker, settings)
        self.closed_windows = ClosedWindows(self.history, settings.windows_s[0])
        self.status_told: Kept[str] = Kept(4)
        self.streams = 0
        self._users: frozenset[str] = frozenset()

    def knows(self, user: str) -> bool:
        """Whether a user ever used anything; quick for those seen before."""
        if user not in self._users:
            self._users = frozenset(self.history.users())
        return user in self._users

    def start(self) -> None:
        """Begin to turn the log into windows."""
        self.worker.start()
        self.drift.start()

    def stop(self) -> None:
        """Finish the step at hand and close the log."""
        self.drift.stop()
        self.worker.stop()
        for store in (self.log, self.keys, self.audit, self.privacy, self.budgets):
            store.close()


class excess_price:  # noqa: N801 -- a function with a plan in it
    """Price of usage beyond the expected, at the plan's own prices without minimums, maximums and flat fees."""

    def __init__(self, plan: Plan) -> None:
        self._currency = plan.currency
        self._charges = [charge for charge in plan.charges if charge.meter is not None]

    def __call__(self, operation: str, excess: Mapping[tuple[str, str], float]) -> tuple[Decimal, str]:
        """Amount to the millionth, and currency."""
        columns = [(UsageColumn(operation, micro, resource), value) for (micro, resource), value in excess.items()]
        total = Decimal(0)
        for charge in self._charges:
            quantity = Decimal(0)
            for column, value in columns:
                if charge.meter and charge.meter.takes(operation, column.micro_operation_type, column.meter):
                    quantity += charge.meter.value.of({column.field: Decimal(f"{value:.6f}")})
            total += charge.model.amount(quantity) if quantity else Decimal(0)
        return total.quantize(Decimal("0.000001")), self._currency
