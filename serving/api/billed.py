"""What routes about a bill are asked: whose it is, under which plan, over which period."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import Depends

from serving.accounts.billing import HistoryReader
from serving.accounts.periods import month_ns
from serving.api.dependencies import PlatformDependency, iso, time_ns
from serving.api.problems import ProblemError
from serving.api.security import Caller, visible_user
from serving.platform import Platform
from serving.pricing.plan import Plan
from serving.pricing.usage import Period
from serving.pricing.versions import SplitInvoice


class Billed:
    """A customer whom the caller may see, its plan unless another is named, and a period (default: this month)."""

    def __init__(
        self,
        platform: PlatformDependency,
        principal: Caller,
        user: str | None = None,
        plan: str | None = None,
        start: str | None = None,
        end: str | None = None,
    ) -> None:
        """Raises problems for customers that the caller cannot see, unknown plans, and periods that are none."""
        chosen = visible_user(principal, platform, user)
        if chosen is None:
            raise ProblemError(422, "user is missing; GET /v1/users lists those there are")
        self._platform, self.user = platform, chosen
        self.plan = plan_of(platform, plan or platform.commerce.biller.plan_of(chosen))
        self.period = period_of(start, end)

    def bill(self) -> SplitInvoice:
        """The bill of the period so far, each slice under the version that held."""
        reader = HistoryReader(self._platform.history, self.user)
        return self._platform.commerce.biller.bill(self.plan.id, self.user, self.period, reader)

    def span(self) -> dict[str, str]:
        """The period as JSON."""
        return {"start": iso(self.period.start_ns), "end": iso(self.period.end_ns)}


BilledDependency = Annotated[Billed, Depends()]


def plan_of(platform: Platform, plan_id: str | None) -> Plan:
    """The plan of an id, or the default one; raises a 404 problem."""
    found = platform.plans.get(plan_id or platform.settings.default_plan)
    if found is None:
        raise ProblemError(404, f"no plan {plan_id!r:.60}; there are {', '.join(sorted(platform.plans))}")
    return found


def period_of(start: str | None, end: str | None) -> Period:
    """The period given, or the calendar month in UTC; raises a 422 problem."""
    month_start, month_end = month_ns(time.time_ns())
    start_ns, end_ns = time_ns("start", start, month_start), time_ns("end", end, month_end)
    if end_ns <= start_ns:
        raise ProblemError(422, f"the period ends at {iso(end_ns)}, not after its start {iso(start_ns)}")
    return Period(start_ns, end_ns)
