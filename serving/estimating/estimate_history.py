"""Past estimates and the bills that came: kept as they were made, scored when their period is over, published."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from serving.pricing.usage import Period
from serving.storage.tables import Tables

_TABLES = (
    "CREATE TABLE IF NOT EXISTS estimates_made (user_id TEXT NOT NULL, plan_id TEXT NOT NULL, "
    "start_ns BIGINT NOT NULL, end_ns BIGINT NOT NULL, made_ns BIGINT NOT NULL, slot BIGINT NOT NULL, "
    "version BIGINT NOT NULL, "
    "model TEXT NOT NULL, expected TEXT NOT NULL, quantiles TEXT NOT NULL, replayed BIGINT NOT NULL, bill TEXT, "
    "PRIMARY KEY (user_id, plan_id, start_ns, end_ns, slot, replayed))",
)
SLOTS = 100
"""An estimate of a period is kept once in each hundredth of it."""
MOST_SCORED, MOST_REMEMBERED = 2_000, 100_000
SHARES = ((0, 25), (25, 50), (50, 75), (75, 100))
"""Spans of the elapsed share of a period, in percent, by which errors are told."""


@dataclass(frozen=True, slots=True)
class Scored:
    """An estimate beside its bill: the share of the period that had passed, median, P10 to P90, and what came."""

    user: str
    plan_id: str
    share: float
    median: Decimal
    low: Decimal
    high: Decimal
    bill: Decimal


class EstimateHistory:
    """The estimates of one data directory."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._kept: set[tuple[object, ...]] = set()
        tables.create(*_TABLES)

    def keep(self, document: Mapping[str, Any], period: Period, now_ns: int, replayed: bool = False) -> None:
        """Keep the estimates of a document of `serving.estimating.estimates.estimate`; the first in each slot stays."""
        slot = SLOTS * (now_ns - period.start_ns) // (period.end_ns - period.start_ns)
        if not 0 <= slot < SLOTS:
            return
        for one in document["estimates"]:
            place = (document["user"], one["plan"]["id"], period.start_ns, period.end_ns, slot, replayed)
            if place in self._kept:
                continue
            if len(self._kept) > MOST_REMEMBERED:
                self._kept.clear()
            self._kept.add(place)
            self._tables.write(
                "INSERT INTO estimates_made (user_id, plan_id, start_ns, end_ns, made_ns, slot, version, model, "
                "expected, quantiles, replayed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    *(document["user"], one["plan"]["id"], period.start_ns, period.end_ns, now_ns, slot),
                    *(one["plan"]["version"], str(document["model"]["name"]), one["expected"]),
                    *(json.dumps(one["quantiles"]), int(replayed)),
                ),
            )

    def settle(self, until_ns: int, bill: Callable[[str, str, Period], Decimal]) -> int:
        """Put the bill beside every estimate whose period has ended; returns how many bills were made."""
        rows = self._tables.rows(
            "SELECT DISTINCT user_id, plan_id, start_ns, end_ns FROM estimates_made WHERE bill IS NULL AND end_ns <= ?",
            (until_ns,),
        )
        for user, plan_id, start_ns, end_ns in rows:
            amount = bill(user, plan_id, Period(int(start_ns), int(end_ns)))
            self._tables.write(
                "UPDATE estimates_made SET bill = ? WHERE user_id = ? AND plan_id = ? AND start_ns = ? AND end_ns = ?",
                (str(amount), user, plan_id, start_ns, end_ns),
            )
        return len(rows)

    def scored(self, user: str | None = None, plan_id: str | None = None) -> list[Scored]:
        """Estimates whose bill is known, of a user and a plan or of all, the latest `MOST_SCORED`, oldest first."""
        where, values = "bill IS NOT NULL", []
        for column, value in (("user_id", user), ("plan_id", plan_id)):
            if value is not None:
                where += f" AND {column} = ?"
                values.append(value)
        rows = self._tables.rows(
            "SELECT user_id, plan_id, start_ns, end_ns, made_ns, quantiles, bill FROM estimates_made "  # noqa: S608
            f"WHERE {where} ORDER BY made_ns DESC LIMIT {MOST_SCORED}",
            values,
        )
        return [_scored(row) for row in rows[::-1]]


def errors(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """By elapsed share of the period: how many, mean absolute error and bias in percent of the bill, and coverage."""
    rows = []
    for low, high in SHARES:
        mine = [one for one in scored if low <= 100 * one.share < high]
        billed = [one for one in mine if one.bill]
        if not mine:
            continue
        gaps = [100 * float((one.median - one.bill) / one.bill) for one in billed]
        rows.append(
            {
                "elapsed_percent": [low, high],
                "estimates": len(mine),
                "mean_absolute_error_percent": round(sum(map(abs, gaps)) / len(gaps), 2) if gaps else None,
                "bias_percent": round(sum(gaps) / len(gaps), 2) if gaps else None,
                "coverage_p10_p90": round(sum(one.low <= one.bill <= one.high for one in mine) / len(mine), 3),
            }
        )
    return rows


def _scored(row: Sequence[Any]) -> Scored:
    user, plan_id, start_ns, end_ns, made_ns, quantiles, bill = row
    levels = json.loads(quantiles)
    share = (int(made_ns) - int(start_ns)) / (int(end_ns) - int(start_ns))
    median, low, high = (Decimal(levels[level]) for level in ("0.5", "0.1", "0.9"))
    return Scored(user, plan_id, share, median, low, high, Decimal(bill))
