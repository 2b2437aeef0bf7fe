"""Counterfactuals: what a bill would have been had a part of the usage not happened, or happened at another hour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from serving.pricing.line import Part
from serving.pricing.usage import Period, UsageRecord

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
Rater = Callable[[Sequence[UsageRecord]], Decimal]
"""The total of a bill for some usage."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The bill as it was and as it would have been; ``difference`` < 0 is money saved."""

    about: str
    total: Decimal
    would_be: Decimal

    @property
    def difference(self) -> Decimal:
        """What would have been paid more."""
        return self.would_be - self.total


def concerns(record: UsageRecord, part: Part) -> bool:
    """Whether a record is of an operation and micro-operation type; empty ones are any."""
    return part[0] in ("", record.operation_id) and part[1] in ("", record.micro_operation_type)


def not_run(usage: Sequence[UsageRecord], part: Part, total: Rater) -> WhatIf:
    """Without the usage of a part: its marginal cost, the difference of two ratings, as tiers are not linear."""
    rest = [record for record in usage if not concerns(record, part)]
    return WhatIf("not run at all", total(usage), total(rest))


def at_hour(usage: Sequence[UsageRecord], part: Part, hour: int, period: Period, total: Rater) -> WhatIf:
    """With the usage of a part moved to an hour (UTC) of its own day, inside the period."""
    if not 0 <= hour < 24:
        raise ValueError(f"hour {hour}; between 0 and 23 is allowed")
    moved = [_moved(record, hour, period) if concerns(record, part) else record for record in usage]
    return WhatIf(f"at {hour:02d}:00 UTC", total(usage), total(moved))


def _moved(record: UsageRecord, hour: int, period: Period) -> UsageRecord:
    start = record.start_ns - record.start_ns % DAY_NS + hour * HOUR_NS + record.start_ns % HOUR_NS
    start = min(max(start, period.start_ns), period.end_ns - 1)
    return replace(record, start_ns=start, end_ns=start + (record.end_ns - record.start_ns))
