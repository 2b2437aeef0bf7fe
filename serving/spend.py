"""Spend to date: what the metered usage of a period costs, in all, by part, and as it grew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from features.windows import KEYS, RESOURCES, SCHEMA
from serving.pricing.paths import PathCosts, UsageColumn, rate_paths
from serving.pricing.plan import Plan, prices_events
from serving.pricing.rate import Invoice, rate
from serving.pricing.usage import Period, UsageRecord
from serving.storage.history import History
from serving.usage_records import usage_records

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Growth:
    """Costs of a period's usage up to each of some moments (Unix nanoseconds)."""

    moments_ns: tuple[int, ...]
    costs: PathCosts


def invoice(history: History, windows_s: Sequence[int], plan: Plan, user: str, period: Period) -> Invoice:
    """The user's usage of the period through the plan, line by line."""
    window_s = longest_window(windows_s, period.start_ns, period.end_ns)
    if _follows_time(plan):
        return rate(plan, _records(history, windows_s, user, period), period)
    totals = history.totals(window_s, period.start_ns, period.end_ns, user)
    begun = pl.lit(period.start_ns).cast(SCHEMA["window_start"]).alias("window_start")
    # no other price depends on when in the period something was used: one record stands for all windows of its kind
    return rate(plan, usage_records(totals.with_columns(begun), period.end_ns - period.start_ns), period)


def growth(
    history: History, windows_s: Sequence[int], plan: Plan, user: str, period: Period, now_ns: int, points: int
) -> Growth:
    """Cost up to ``points`` moments from the first usage to now; each is rated whole, as tiers are not linear."""
    window_s = longest_window(windows_s, period.start_ns, period.end_ns)
    end_ns = min(now_ns, period.end_ns)
    frame = history.windows(window_s, period.start_ns, end_ns, user)
    if frame.is_empty():
        return Growth((), PathCosts([], {}))
    first_ns = int(frame["window_start"].cast(pl.Int64).min())  # type: ignore[arg-type]
    moments = tuple(first_ns + (end_ns - first_ns) * step // points for step in range(1, points + 1))
    if _follows_time(plan):
        records = _records(history, windows_s, user, period)
        bills = [rate(plan, records, Period(period.start_ns, moment + 1)).total for moment in moments]
        return Growth(moments, PathCosts(bills, {}))
    columns, totals = _cumulative(frame, moments)
    return Growth(moments, rate_paths(plan, columns, totals))


def _follows_time(plan: Plan) -> bool:
    """Whether a price depends on single events or on when something was used."""
    meters = plan.meters().values()
    return any(bool(charge.factors) or prices_events(charge.model) for charge in plan.charges) or not all(
        meter.aggregation.additive for meter in meters
    )


def _records(history: History, windows_s: Sequence[int], user: str, period: Period) -> list[UsageRecord]:
    """Records as fine as they are kept: one a window of the shortest length."""
    window_s = min(windows_s)
    windows = history.windows(window_s, period.start_ns, period.end_ns, user)
    return usage_records(windows, window_s * NANOSECONDS)


def longest_window(windows_s: Sequence[int], start_ns: int, end_ns: int) -> int:
    """The longest kept window whose grid has both ends of the period, else the shortest."""
    fitting = [s for s in windows_s if start_ns % (s * NANOSECONDS) == 0 and end_ns % (s * NANOSECONDS) == 0]
    return max(fitting, default=min(windows_s))


def _cumulative(frame: pl.DataFrame, moments: Sequence[int]) -> tuple[list[UsageColumn], list[list[float]]]:
    """Sums of every column over the windows that began before each moment: (columns, one row a moment)."""
    amounts = ("events", *RESOURCES)
    grid = pl.Series("moment", moments)
    start = pl.col("window_start").cast(pl.Int64)
    slot = grid.search_sorted(frame.select(start).to_series() + 1).clip(0, len(moments) - 1)
    sums = frame.with_columns(slot.alias("slot")).group_by("slot", *KEYS[1:]).agg(pl.col(*amounts).sum())
    columns: dict[UsageColumn, list[float]] = {}
    for row in sums.iter_rows(named=True):
        for amount in amounts:
            if row[amount] and not (amount == "units" and not row["meter"]):
                resource = row["meter"] if amount == "units" else amount
                column = UsageColumn(row["operation_id"], row["micro_operation_type"], resource)
                columns.setdefault(column, [0.0] * len(moments))[row["slot"]] += row[amount]
    running: list[list[float]] = []
    for values in columns.values():
        total, line = 0.0, []
        for value in values:
            total += value
            line.append(total)
        running.append(line)
    return list(columns), [list(row) for row in zip(*running, strict=True)] if running else [[] for _ in moments]
