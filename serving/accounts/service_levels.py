"""Service levels measured from a user's events: latency of executions, share of errors, and availability."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

import polars as pl

from features.retracted import without_retracted
from serving.pricing.factors.service_level import Breach, ServiceLevel
from serving.pricing.plan import Plan
from serving.pricing.usage import Period

NANOSECONDS = 1_000_000_000
EXECUTIONS, ERRORS = "executions", "errors"
"""Meters that count executions, and those that failed."""
_EXECUTION = ("producer", "epoch", "execution_id")
_DEEPEST = 32
"""Levels of executions within executions that are followed."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A level over a period: good windows in percent of those with executions, and the breaches as evidence."""

    level: ServiceLevel
    windows: int
    availability: Decimal
    breaches: list[Breach]


def levels_of(plan: Plan) -> list[ServiceLevel]:
    """The service levels that charges of a plan name."""
    found = {one.id: one for charge in plan.charges for one in charge.factors if isinstance(one, ServiceLevel)}
    return [found[name] for name in sorted(found)]


def measure(
    events: Iterable[pl.DataFrame], levels: Sequence[ServiceLevel], user: str, period: Period
) -> list[Measured]:
    """Measure every level over the user's events of a period (columns of `features.schema.ARROW_SCHEMA`).

    The latency of an execution is the time that its micro-operations and those of executions within it took; it
    counts in the window in which it ended. Availability is 100 where nothing was executed.
    """
    at = pl.col("timestamp").cast(pl.Int64)
    mine = [
        part.filter((pl.col("user_id") == user) & (at >= period.start_ns) & (at < period.end_ns)) for part in events
    ]
    frame = without_retracted(pl.concat(mine)) if mine else pl.DataFrame()
    if frame.is_empty():
        return [Measured(level, 0, Decimal(100), []) for level in levels]
    frame = frame.select(*_EXECUTION, "parent_execution_id", at.alias("at_ns"), "execution_time_ms", "meter", "units")
    whole = _executions(frame)
    counts = frame.filter(pl.col("meter").is_in([EXECUTIONS, ERRORS]))
    return [_measured(level, whole, counts, period) for level in levels]


def _executions(frame: pl.DataFrame) -> pl.DataFrame:
    """One row an outermost execution: when it ended, and the time of all that belongs to it."""
    single = (
        frame.filter(pl.col("execution_id") != 0)
        .group_by(_EXECUTION)
        .agg(
            pl.col("execution_time_ms").sum(),
            pl.col("at_ns").max(),
            pl.col("parent_execution_id").max(),
        )
    )
    rows = {row[:3]: row for row in single.select(*_EXECUTION, "parent_execution_id").iter_rows()}
    roots = [_root(key, rows) for key in single.select(*_EXECUTION).iter_rows()]
    named = single.with_columns(pl.Series("root", [f"{a}|{b}|{c}" for a, b, c in roots]))
    return named.group_by("root").agg(pl.col("execution_time_ms").sum(), pl.col("at_ns").max()).sort("at_ns", "root")


def _root(key: tuple[object, ...], rows: dict[tuple[object, ...], tuple[object, ...]]) -> tuple[object, ...]:
    for _ in range(_DEEPEST):
        above = (key[0], key[1], rows[key][3])
        if above[2] == 0 or above not in rows or above == key:
            break
        key = above
    return key


def _measured(level: ServiceLevel, whole: pl.DataFrame, counts: pl.DataFrame, period: Period) -> Measured:
    length = level.window_s * NANOSECONDS
    slot = ((pl.col("at_ns") - period.start_ns) // length).alias("slot")
    latencies = {
        key[0]: sorted(rows["execution_time_ms"].to_list())
        for key, rows in whole.with_columns(slot).partition_by("slot", as_dict=True).items()
    }
    sums = counts.with_columns(slot).group_by("slot", "meter").agg(pl.col("units").sum())
    counted = {(row[0], row[1]): row[2] for row in sums.iter_rows()}
    breaches: list[Breach] = []
    slots = sorted({*latencies, *(key for key, _ in counted)})
    bad = 0
    for place in slots:
        values = {f"latency_p{p}_ms": _percentile(latencies.get(place, []), p) for p in (50, 90, 95, 99)}
        executions = counted.get((place, EXECUTIONS), 0.0) or len(latencies.get(place, []))
        values["error_percent"] = 100 * counted.get((place, ERRORS), 0.0) / executions if executions else 0.0
        exact = {name: Decimal(f"{value:.3f}") for name, value in values.items()}
        start_ns = period.start_ns + place * length
        found = level.breaches(exact, start_ns, start_ns + length)
        breaches += found
        bad += bool(found)
    good = Decimal(100) * (len(slots) - bad) / len(slots)
    return Measured(level, len(slots), good.quantize(Decimal("0.001")), breaches)


def _percentile(ordered: Sequence[float], percent: int) -> float:
    """Nearest rank; 0 without any."""
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0
