"""The running platform: log, engine, history, anomalies, champion and plans, wired together once."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from features.log import open_log
from serving.access.audit import AuditLog
from serving.access.keys import KeyStore
from serving.access.limiter import Limiter
from serving.access.sessions import Sessions, session_secret
from serving.accounts.commerce import Commerce
from serving.accuracy_store import AccuracyStore
from serving.alerts.hook import DetectionHook
from serving.alerts.store import AnomalyStore
from serving.champion import ChampionWatch
from serving.drift_watch import DriftWatch
from serving.engine.worker import EngineWorker
from serving.estimating.estimate_service import EstimateService, Question
from serving.ingest.committer import GroupCommitter
from serving.ingest.privacy import privacy_of
from serving.kept import Kept
from serving.live_windows import ClosedWindows
from serving.overhead import overhead
from serving.plans.plan_files import load_versions
from serving.pricing.paths import UsageColumn
from serving.pricing.plan import Plan
from serving.pricing.usage import Period
from serving.settings import Settings
from serving.storage.engine_store import DatabaseEngineStore
from serving.storage.history import History
from serving.storage.migrations import migrate


class Platform:
    """Everything behind the API of one server; `start` begins the engine, `stop` ends it and closes the log."""

    def __init__(self, settings: Settings) -> None:
        """Open the data directory, making it where it is missing; raises PlanError for plans that cannot be read."""
        self.settings = settings
        load_versions(settings.plans)  # a mistake in a plan is told before a data directory is made
        settings.data.mkdir(parents=True, exist_ok=True)
        migrate(settings.database)
        self.log = open_log(settings.database)
        self.privacy = privacy_of(
            settings.pseudonym_keys, settings.pseudonym_map or settings.data / "identities.db", settings.never_stored
        )
        self.committer = GroupCommitter(self.log)
        self.history = History(settings.database)
        self.anomalies = AnomalyStore(settings.database)
        self.keys = KeyStore(settings.database)
        self.audit = AuditLog(settings.database)
        secret = session_secret(settings.data)
        self.sessions = Sessions(secret)
        self.commerce = Commerce(settings, self.log, self.history, self._lag, secret, self._chance_over)
        self.plans, self.budgets = self.commerce.plans, self.commerce.budgets
        self.limiter = Limiter(settings.requests_per_minute)
        self.champion = ChampionWatch(settings.data / "models" / "champion", settings.windows_s)
        price = excess_price(self.plans[settings.default_plan])
        hook = DetectionHook(settings.detect_window_s, price, silence_days=settings.forget_after_days)
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

    def versions(self, plan_id: str, user: str, period: Period) -> list[Plan]:
        """The versions of a plan in force somewhere in a period, as they are for a customer."""
        return self.commerce.biller.versions(plan_id, user, period)

    def status(self) -> dict[str, Any]:
        """How the engine stands, and what metering costs the metered programs."""
        window_s = self.settings.windows_s[0]
        return self.worker.status() | overhead(self.history, window_s, self.worker.closed_until_ns(window_s))

    def start(self) -> None:
        """Begin to turn the log into windows, and windows into money."""
        self.worker.start()
        self.drift.start()
        self.commerce.start()

    def stop(self) -> None:
        """Finish the step at hand and close the log."""
        self.commerce.stop()
        self.drift.stop()
        self.worker.stop()
        self.committer.close()
        for store in (self.log, self.keys, self.audit, self.privacy):
            store.close()

    def _lag(self) -> int:
        return int(self.worker.status()["lag"])

    def _chance_over(self, user: str, plan_id: str, period: Period, amount: Decimal) -> Decimal | None:
        """The probability that a bill exceeds an amount; None where there is too little usage to tell."""
        question = Question(user, (plan_id,), period.start_ns, period.end_ns, budget=amount)
        try:
            document = self.estimates.ask(question)
        except ValueError:
            return None
        return Decimal(str(document["estimates"][0]["budget"]["probability_over"]))


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
