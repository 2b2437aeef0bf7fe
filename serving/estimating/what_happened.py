"""Counterfactuals of a customer's metered usage: not run, at another hour, on another plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from serving.accounts.billing import HistoryReader, read_usage
from serving.accounts.commerce import Commerce
from serving.pricing.counterfactual import WhatIf, at_hour, not_run
from serving.pricing.line import Part
from serving.pricing.plan import Plan
from serving.pricing.rate import rate
from serving.pricing.usage import Period, UsageRecord
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
    """What the bill would have been without the part, with it at an hour (UTC), and as a whole on another plan."""

    def records(of: Plan) -> list[UsageRecord]:
        held = replace(of, effective_from_ns=min(of.effective_from_ns, period.start_ns))
        reader = HistoryReader(sources.history, user)
        found = sources.commerce.biller.conditions([of], user, period)
        return read_usage([held], period, reader, sources.settings.windows_s, found)

    def total(of: Plan, usage: Sequence[UsageRecord]) -> Decimal:
        return rate(of, usage, period, conditions=sources.commerce.biller.conditions([of], user, period)).total

    own = plan.of_customer(user)
    usage = records(own)
    answers = [not_run(usage, part, lambda rows: total(own, rows))]
    if hour is not None:
        answers.append(at_hour(usage, part, hour, period, lambda rows: total(own, rows)))
    if other is not None:
        theirs = other.of_customer(user)
        would_be = total(theirs, records(theirs))
        answers.append(WhatIf(f"on plan {other.id}", total(own, usage), would_be))
    return answers
