"""Spend to date: what the metered usage of a period costs, as it grew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import polars as pl

from serving.accounts.billing import Biller, HistoryReader, follows_time, longest_window, read_usage
from serving.accounts.usage_columns import column_sums
from serving.pricing.paths import PathCosts, UsageColumn, rate_paths
from serving.pricing.plan import Plan
from serving.pricing.usage import Period, UsageRecord
from serving.pricing.versions import rate_versions
from serving.storage.history import History

TIMED_POINTS = 12


@dataclass(frozen=True, slots=True)
class Growth:
    """Costs of a period's usage up to each of some moments (Unix nanoseconds)."""

    moments_ns: tuple[int, ...]
    costs: PathCosts


def growth(
    biller: Biller, history: History, versions: Sequence[Plan], user: str, period: Period, now_ns: int, points: int
) -> Growth:
    """Cost up to ``points`` moments from the first usage to now; each is rated whole, as tiers are not linear.

    ``versions`` of the plan are those in force in the period. Where prices follow time, or change in the period, there
    are at most `TIMED_POINTS`.
    """
    window_s = longest_window(biller.windows_s, (period.start_ns, period.end_ns))
    end_ns = min(now_ns, period.end_ns)
    frame = history.windows(window_s, period.start_ns, end_ns, user)
    if frame.is_empty():
        return Growth((), PathCosts([], {}))
    timed = len(versions) > 1 or follows_time(versions[0])
    points = min(points, TIMED_POINTS) if timed else points
    first_ns = int(frame["window_start"].cast(pl.Int64).min())  # type: ignore[arg-type]
    moments = tuple(first_ns + (end_ns - first_ns) * step // points for step in range(1, points + 1))
    if timed:
        held = [replace(versions[0], effective_from_ns=min(versions[0].effective_from_ns, period.start_ns))]
        held += versions[1:]
        conditions = biller.conditions(held, user, period)
        records = read_usage(held, period, HistoryReader(history, user), biller.windows_s, conditions)
        ends = [Period(period.start_ns, moment + 1) for moment in moments]
        bills = [rate_versions(held, _begun(records, end.end_ns), end, conditions) for end in ends]
        return Growth(moments, PathCosts([bill.total for bill in bills], {}))
    columns, totals = _cumulative(frame, moments)
    return Growth(moments, rate_paths(versions[0], columns, totals))


def _begun(records: Sequence[UsageRecord], end_ns: int) -> list[UsageRecord]:
    return [record for record in records if record.start_ns < end_ns]


def _cumulative(frame: pl.DataFrame, moments: Sequence[int]) -> tuple[list[UsageColumn], list[list[float]]]:
    """Sums of every column over the windows that began before each moment: (columns, one row a moment)."""
    grid = pl.Series("moment", moments)
    start = pl.col("window_start").cast(pl.Int64)
    slot = grid.search_sorted(frame.select(start).to_series() + 1).clip(0, len(moments) - 1)
    columns = column_sums(frame.with_columns(slot.alias("slot")), len(moments))
    running = [list(accumulate(values)) for values in columns.values()]
    return list(columns), [list(row) for row in zip(*running, strict=True)] if running else [[] for _ in moments]
