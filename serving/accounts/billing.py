"""Billing: what a customer's metered usage of a period costs under the versions, prices and quotes that held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd
from typing import Protocol

import polars as pl

from features.windows import KEYS, SCHEMA
from serving.accounts.customer_terms import CustomerTerms
from serving.accounts.quotes import QuoteDesk
from serving.accounts.usage_records import usage_records
from serving.demand.demand_prices import PriceStore
from serving.plans.plan_catalogue import PlanCatalogue
from serving.pricing.factors.conditions import LIST_PRICE, Conditions
from serving.pricing.factors.demand import Demand
from serving.pricing.factors.schedule import Schedule
from serving.pricing.modifiers.credit import Credit
from serving.pricing.plan import Plan, prices_events
from serving.pricing.usage import Period, UsageRecord
from serving.pricing.versions import SplitInvoice, held_from, rate_versions, slices
from serving.storage.history import History

NANOSECONDS = 1_000_000_000


class UsageReader(Protocol):
    """Windows of one user in [start_ns, end_ns), columns of `features.windows.SCHEMA`."""

    def windows(self, window_s: int, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Every window of a length."""
        ...

    def totals(self, window_s: int, start_ns: int, end_ns: int) -> pl.DataFrame:
        """The sums of all of them, one row a kind; the column `window_start` may be missing."""
        ...


@dataclass(frozen=True, slots=True)
class HistoryReader:
    """Reads the windows that the engine keeps."""

    history: History
    user: str

    def windows(self, window_s: int, start_ns: int, end_ns: int) -> pl.DataFrame:
        """Every window of a length."""
        return self.history.windows(window_s, start_ns, end_ns, self.user)

    def totals(self, window_s: int, start_ns: int, end_ns: int) -> pl.DataFrame:
        """The sums of all of them, one row a kind."""
        return self.history.totals(window_s, start_ns, end_ns, self.user)


class Biller:
    """Rates usage; where the windows come from is the caller's: the history for spend, the log for invoices."""

    def __init__(
        self,
        plans: PlanCatalogue,
        prices: PriceStore,
        quotes: QuoteDesk,
        terms: CustomerTerms,
        windows_s: Sequence[int],
        default_plan: str,
    ) -> None:
        self.plans, self._prices, self._quotes, self._terms = plans, prices, quotes, terms
        self.windows_s, self._default_plan = tuple(windows_s), default_plan

    def plan_of(self, user: str) -> str:
        """The id of the plan that a customer is on."""
        chosen = self._terms.of(user).plan_id
        return chosen if chosen is not None and chosen in self.plans else self._default_plan

    def currency_of(self, plan_id: str) -> str:
        """The currency of a plan."""
        return self.plans[plan_id].currency

    def versions(self, plan_id: str, user: str, period: Period) -> list[Plan]:
        """The versions in force somewhere in a period, as they are for a customer."""
        found = self.plans.during(plan_id, user, period.start_ns)
        return [plan for plan in found if plan is found[0] or plan.effective_from_ns < period.end_ns]

    def conditions(self, plans: Sequence[Plan], user: str, period: Period) -> Conditions:
        """What factors depend on: published prices, the customer's maximum, redeemed quotes."""
        published = {
            rule: history
            for plan in plans
            for rule, history in self._prices.histories(plan, period.start_ns, period.end_ns).items()
        }
        quotes = self._quotes.redeemed(user, plans[0].id, period.start_ns, period.end_ns)
        return Conditions(published, self._terms.of(user).maximum_factor, tuple(quotes))

    def bill(
        self,
        plan_id: str,
        user: str,
        period: Period,
        reader: UsageReader,
        credits: Sequence[Credit] = (),
        conditions: Conditions | None = None,
    ) -> SplitInvoice:
        """The bill of a period under a plan, each slice under the version in force; raises KeyError for no plan."""
        versions = self.versions(plan_id, user, period)
        return self.under(versions, user, period, reader, credits, conditions)

    def under(
        self,
        versions: Sequence[Plan],
        user: str,
        period: Period,
        reader: UsageReader,
        credits: Sequence[Credit] = (),
        conditions: Conditions | None = None,
        until_ns: int | None = None,
    ) -> SplitInvoice:
        """The bill under given versions; the first one holds from the period's start.

        With ``until_ns``, inside the period, only usage before it counts, beside fees and bounds of the whole period.
        """
        held = held_from(versions, period.start_ns)
        known = conditions if conditions is not None else self.conditions(held, user, period)
        used = period if until_ns is None else Period(period.start_ns, until_ns)
        usage = read_usage(held, used, reader, self.windows_s, known)
        return rate_versions(held, usage, period, known, credits)


def read_usage(
    versions: Sequence[Plan],
    period: Period,
    reader: UsageReader,
    windows_s: Sequence[int],
    conditions: Conditions = LIST_PRICE,
) -> list[UsageRecord]:
    """The records of a period as fine as prices need them, and no finer.

    Where no price depends on when in a slice something was used, one record stands for all windows of its kind.
    """
    cuts = slices(versions, period)
    records: list[UsageRecord] = []
    for plan, part in cuts:
        timed = follows_time(plan)
        length_s = resolution_s(plan, conditions, windows_s) if timed else 0
        window_s = longest_window(windows_s, (part.start_ns, part.end_ns), length_s)
        if timed:
            records += usage_records(reader.windows(window_s, part.start_ns, part.end_ns), window_s * NANOSECONDS)
        else:
            sums = reader.totals(window_s, part.start_ns, part.end_ns)
            begun = pl.lit(part.start_ns).cast(SCHEMA["window_start"]).alias("window_start")
            records += usage_records(sums.with_columns(begun).sort(*KEYS), part.end_ns - part.start_ns)
    return records


def follows_time(plan: Plan) -> bool:
    """Whether a price depends on single events or on when something was used."""
    additive = all(meter.aggregation.additive for meter in plan.meters().values())
    return not additive or any(bool(charge.factors) or prices_events(charge.model) for charge in plan.charges)


def resolution_s(plan: Plan, conditions: Conditions, windows_s: Sequence[int]) -> int:
    """Seconds within which no price of a plan changes; the shortest window where single events are priced."""
    factors = [factor for charge in plan.charges for factor in charge.factors]
    kinds = [meter.aggregation for meter in plan.meters().values()]
    fine = any(prices_events(charge.model) for charge in plan.charges) or any(
        not how.additive and how.kind != "percentile" for how in kinds
    )
    bounds = [one for factor in factors if isinstance(factor, Schedule) for one in (factor.from_ns, factor.until_ns)]
    if fine or conditions.quotes or any(one is not None and one % (60 * NANOSECONDS) for one in bounds):
        return min(windows_s)
    lengths = [60] if any(isinstance(factor, Schedule) for factor in factors) else []
    lengths += [gcd(f.interval_s, f.lead_s or f.interval_s) for f in factors if isinstance(f, Demand)]
    lengths += [how.bucket_s or 300 for how in kinds if how.kind == "percentile"]
    return gcd(*lengths) if lengths else 3600


def longest_window(windows_s: Sequence[int], ends_ns: Sequence[int], within_s: int = 0) -> int:
    """The longest window kept with the instants on its grid that fits into ``within_s`` (0: any), else the shortest."""
    fitting = [
        s
        for s in windows_s
        if all(end_ns % (s * NANOSECONDS) == 0 for end_ns in ends_ns) and (not within_s or within_s % s == 0)
    ]
    return max(fitting, default=min(windows_s))
