"""Everything about money on one platform, wired together: plans, prices, quotes, ledger, budgets, webhooks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import polars as pl

from features.contracts import EventLog
from features.database import Location, connect
from serving.accounts.billing import Biller, HistoryReader, UsageReader
from serving.accounts.budget_watch import BudgetWatch, Projection
from serving.accounts.budgets import BudgetStore
from serving.accounts.customer_terms import CustomerTerms
from serving.accounts.periods import month_ns
from serving.accounts.quotes import QuoteDesk
from serving.accounts.service_levels import Measured, levels_of, measure
from serving.demand.demand_prices import PriceStore
from serving.demand.demand_publisher import DemandPublisher
from serving.demand.demand_signals import Signals
from serving.estimating.estimate_history import EstimateHistory
from serving.estimating.plan_comparison import PlanComparison
from serving.ledger.accrual import Accruals
from serving.ledger.invoices import Invoices, NumberedInvoice
from serving.ledger.journal import Journal
from serving.ledger.log_usage import ArchivedParts, log_events, read_log
from serving.plans.plan_catalogue import PlanCatalogue
from serving.plans.plan_files import PlanError, load_versions
from serving.pricing.factors.service_level import credit_line
from serving.pricing.plan import Plan
from serving.pricing.usage import Period
from serving.pricing.versions import SplitInvoice
from serving.settings import Settings
from serving.storage.archive import Archive
from serving.storage.history import History
from serving.storage.tables import Tables
from serving.webhooks.sender import WebhookSender
from serving.webhooks.store import WebhookStore


class Commerce:
    """Prices, bills and what follows from them; `start` begins its threads, `stop` ends them."""

    def __init__(
        self,
        settings: Settings,
        log: EventLog,
        history: History,
        lag: Callable[[], int],
        secret: bytes,
        projection: Projection,
    ) -> None:
        """``lag`` tells how many batches wait to be taken in.

        Raises PlanError for plans that cannot be read, contradict what was published, or lack the default one."""
        self._settings, self._log, self._history = settings, log, history
        self.windows_s = tuple(settings.windows_s)
        self.tables = Tables(settings.database)
        self.plans = _published(self.tables, settings)
        self.prices = PriceStore(self.tables)
        self.signals = Signals(self.tables, history, lag, settings.windows_s)
        self.publisher = DemandPublisher(self.plans, self.prices, self.signals)
        self.quotes = QuoteDesk(self.tables, secret)
        self.terms = CustomerTerms(self.tables)
        self.biller = Biller(
            self.plans, self.prices, self.quotes, self.terms, settings.windows_s, settings.default_plan
        )
        self.journal = Journal(self.tables)
        self.accruals = Accruals(self.journal, self.biller, history, self.terms)
        self.invoices = Invoices(self.tables, self.journal, self.accruals, self.biller, self._from_log, self._credited)
        self.comparison = PlanComparison(history, self.biller, self.windows_s)
        self.estimates_made = EstimateHistory(self.tables)
        self.webhooks = WebhookStore(self.tables)
        self.sender = WebhookSender(self.webhooks)
        self.budgets = BudgetStore(self.tables)
        self.watch = BudgetWatch(
            self.budgets, self.accruals, self.biller, self.webhooks, projection, lambda now: Period(*month_ns(now))
        )

    def start(self) -> None:
        """Begin to publish prices, watch budgets and send webhooks."""
        for part in (self.publisher, self.watch, self.sender):
            part.start()

    def stop(self) -> None:
        """Finish what is at hand and release the database."""
        for part in (self.publisher, self.watch, self.sender):
            part.stop()
        self.tables.close()

    def close_period(self, user: str, period: Period) -> NumberedInvoice:
        """Issue the invoice of a period from what is in the log now, and tell webhooks; raises InvoiceError."""
        now_ns = time.time_ns()
        invoice = self.invoices.close(user, period, self._log.last_offset(), now_ns)
        data = {"number": invoice.number, "amount_due": invoice.document["amount_due"], "currency": invoice.currency}
        self.webhooks.publish(f"invoice:{invoice.number}", "invoice.issued", user, data, now_ns)
        return invoice

    def correct(self, invoice: NumberedInvoice) -> list[dict[str, object]]:
        """Enter what late events change about an invoice, and tell webhooks."""
        now_ns, offset = time.time_ns(), self._log.last_offset()
        changes = self.invoices.correct(invoice, offset, now_ns)
        if changes:
            data = {"number": invoice.number, "lines": changes}
            self.webhooks.publish(
                f"correction:{invoice.number}:{offset}", "invoice.corrected", invoice.user, data, now_ns
            )
        return changes

    def settle_estimates(self, until_ns: int) -> int:
        """Put the bills that came beside past estimates of periods that ended before an instant."""

        def bill(user: str, plan_id: str, period: Period) -> Decimal:
            return self.biller.bill(plan_id, user, period, HistoryReader(self._history, user)).total

        return self.estimates_made.settle(until_ns, bill)

    def service_levels(self, plan: Plan, user: str, period: Period, until_offset: int) -> list[Measured]:
        """What was measured of each service level of a plan in the log up to an offset."""
        return measure(log_events(self._log, until_offset, self._archived()), levels_of(plan), user, period)

    def with_credits(self, bill: SplitInvoice, user: str, period: Period) -> SplitInvoice:
        """A bill so far with the credits for promises broken so far: what the invoice would say if it came now."""
        versions = self.biller.versions(bill.slices[0].plan_id, user, period)
        return self._credited(bill, versions, user, self._log.last_offset())

    def _credited(self, bill: SplitInvoice, versions: Sequence[Plan], user: str, until_offset: int) -> SplitInvoice:
        made = []
        for one in bill.slices:
            plan = next(plan for plan in versions if plan.version == one.plan_version)
            found = self.service_levels(plan, user, one.period, until_offset) if levels_of(plan) else []
            lines = [
                line for level in found if (line := credit_line(level.level, one, level.availability, level.breaches))
            ]
            made.append(replace(one, lines=(*one.lines, *lines)))
        return SplitInvoice(tuple(made))

    def _archived(self) -> ArchivedParts:
        return _archived(self._settings.database, self._settings.data / "history")

    def _from_log(self, user: str, period: Period, until_offset: int) -> UsageReader:
        span = (period.start_ns, period.end_ns)
        windows_s = tuple(self._settings.windows_s)
        return read_log(self._log, windows_s, span, until_offset, user, self._archived())[user]


def _published(tables: Tables, settings: Settings) -> PlanCatalogue:
    """The plans of the directory, published where they are new, beside those that were published before."""
    catalogue = PlanCatalogue(tables)
    versions = load_versions(settings.plans)
    for plans in versions.values():
        for plan in plans:
            catalogue.publish(plan)
    if settings.default_plan not in catalogue:
        raise PlanError(
            f"no plan {settings.default_plan!r} in {settings.plans}; there are {', '.join(versions) or 'none'}"
        )
    return catalogue


def _archived(database: Location, directory: Path) -> ArchivedParts:
    def parts() -> Iterator[tuple[int, int, pl.DataFrame]]:
        connection = connect(database)
        try:
            archive = Archive(connection, directory)
            for part in archive.parts():
                yield part.first_offset, part.last_offset, archive.read(part)
        finally:
            connection.close()

    return parts
