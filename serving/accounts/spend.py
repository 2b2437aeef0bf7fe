"""Spend to date: what the metered usage of a period costs, as it grew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from serving.accounts.billing import Biller, HistoryReader, follows_time, longest_window, read_usage
from serving.accounts.usage_columns import column_sums
from serving.pricing.paths import PathCosts, UsageColumn
from serving.pricing.usage import UsageRecord
from serving.pricing.versioned_plan import VersionedPlan
from serving.pricing.versions import rate_versions
from serving.storage.history import History

TIMED_POINTS = 12
Amounts = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Growth:
    """Costs of a period's usage up to each of some moments (Unix nanoseconds)."""

    moments_ns: tuple[int, ...]
    costs: PathCosts


def growth(biller: Biller, history: History, plan: VersionedPlan, user: str, now_ns: int, points: int) -> Growth:
    """Cost up to ``points`` moments from the first usage to now; each is rated whole, as tiers are not linear.

    Fees and bounds are those of the whole period. Where prices follow time there are at most `TIMED_POINTS`.
    """
    period = plan.period
    window_s = longest_window(biller.windows_s, (period.start_ns, *plan.cuts_ns, period.end_ns))
    end_ns = min(now_ns, period.end_ns)
    frame = history.windows(window_s, period.start_ns, end_ns, user)
    if frame.is_empty():
        return Growth((), PathCosts([], {}))
    timed = any(map(follows_time, plan.plans))
    points = min(points, TIMED_POINTS) if timed else points
    first_ns = int(frame["window_start"].cast(pl.Int64).min())  # type: ignore[arg-type]
    moments = tuple(first_ns + (end_ns - first_ns) * step // points for step in range(1, points + 1))
    if timed:
        conditions = biller.conditions(plan.plans, user, period)
        records = read_usage(plan.plans, period, HistoryReader(history, user), biller.windows_s, conditions)
        bills = [rate_versions(plan.plans, _begun(records, moment + 1), period, conditions) for moment in moments]
        return Growth(moments, PathCosts([bill.total for bill in bills], {}))
    columns, sums = _cumulative(frame, sorted({*moments, *plan.cuts_ns}))
    usage = [
        np.array([sums[min(moment, part.end_ns)] - sums.get(min(moment, part.start_ns), 0.0) for moment in moments])
        for part in (one.part for one in plan.slices)
    ]
    return Growth(moments, plan.rate_paths(columns, usage, [None] * len(usage)))


def _begun(records: Sequence[UsageRecord], end_ns: int) -> list[UsageRecord]:
    return [record for record in records if record.start_ns < end_ns]


def _cumulative(frame: pl.DataFrame, moments: Sequence[int]) -> tuple[list[UsageColumn], dict[int, Amounts]]:
    """Sums of every column over the windows that began before each moment: the columns, and one row a moment."""
    grid = pl.Series("moment", moments)
    start = pl.col("window_start").cast(pl.Int64)
    slot = grid.search_sorted(frame.select(start).to_series() + 1).clip(0, len(moments) - 1)
    columns = column_sums(frame.with_columns(slot.alias("slot")), len(moments))
    running = np.cumsum(np.array(list(columns.values())).reshape(len(columns), len(moments)), axis=1)
    return list(columns), dict(zip(moments, running.T, strict=True))
