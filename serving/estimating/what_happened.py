"""Counterfactuals of a customer's metered usage: not run, at another hour, on another plan."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from serving.accounts.billing import HistoryReader, read_usage
from serving.accounts.commerce import Commerce
from serving.pricing.counterfactual import WhatIf, at_hour, not_run
from serving.pricing.line import Part
from serving.pricing.plan import Plan
from serving.pricing.usage import Period, UsageRecord
from serving.pricing.versions import held_from, rate_versions
from serving.settings import Settings
from serving.storage.history import History


class Sources(Protocol):
    """Where usage and prices come from; the running platform is one."""

    @property
    def history(self) -> History:
        """Windows of usage."""
        ...

    @property
    def settings(self) -> Settings:
        """Lengths of the windows kept."""
        ...

    @property
    def commerce(self) -> Commerce:
        """Prices and terms."""
        ...


def counterfactuals(
    sources: Sources, user: str, period: Period, plan: Plan, part: Part, hour: int | None, other: Plan | None
) -> list[WhatIf]:
    """What the bill would have been without the part, with it at an hour (UTC), and as a whole on another plan.

    Each part of the period is priced by the version of a plan that held in it, as on invoices.
    """
    biller, reader = sources.commerce.biller, HistoryReader(sources.history, user)

    def held(of: Plan) -> list[Plan]:
        return held_from(biller.versions(of.id, user, period), period.start_ns)

    def records(of: Plan) -> list[UsageRecord]:
        versions = held(of)
        conditions = biller.conditions(versions, user, period)
        return read_usage(versions, period, reader, sources.settings.windows_s, conditions)

    def total(of: Plan, usage: Sequence[UsageRecord]) -> Decimal:
        versions = held(of)
        return rate_versions(versions, usage, period, biller.conditions(versions, user, period)).total

    usage = records(plan)
    answers = [not_run(usage, part, lambda rows: total(plan, rows))]
    if hour is not None:
        answers.append(at_hour(usage, part, hour, period, lambda rows: total(plan, rows)))
    if other is not None:
        answers.append(WhatIf(f"on plan {other.id}", total(plan, usage), total(other, records(other))))
    return answers
