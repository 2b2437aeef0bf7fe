"""Projected billing estimates as records: one a user, operation and micro-operation, with all that each rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from serving.estimating.estimates import in_force, moment, price_versions, quantiles, versions_of
from serving.estimating.futures import Checkpoint, Futures, Request, Sources
from serving.pricing.line import Part
from serving.pricing.money import rounded
from serving.pricing.paths import UsageColumn
from serving.pricing.versioned_plan import VersionedPlan

HORIZONS = ("hour", "day", "period")
_FIELDS = ("cpuCycles", "memoryBytes", "networkBytes", "diskBytes", "executionTimeMs")


def projected(
    sources: Sources, request: Request, plan: VersionedPlan, futures: Futures, unpriced: Futures, horizon: str
) -> list[dict[str, Any]]:
    """`ProjectedBillingEstimate`: what is to be paid for the next hour or day, or at the period's end in all.

    Operations' and the user's own records are those of their micro-operations added up path by path; an empty
    operation or micro-operation stands for all of them. Usage is that of both futures; what is unpriced costs nothing.
    Raises ValueError where the period ends before the horizon.
    """
    point = _point(futures, horizon)
    before = None if horizon == "period" else futures.now.costs(plan, futures.columns)
    cost = point.costs(plan, futures.columns)
    added: dict[Part, list[Decimal]] = {}
    for part, paths in cost.parts.items():
        paid = before.parts.get(part, [Decimal(0)])[0] if before is not None else Decimal(0)
        for key in dict.fromkeys((part, (part[0], ""), ("", ""))) if part[0] else [part]:
            sums = added.setdefault(key, [Decimal(0)] * len(paths))
            added[key] = [one + amount - paid for one, amount in zip(sums, paths, strict=True)]
    usage = _usage(_means(futures, horizon) | _means(unpriced, horizon))
    about = _about(sources, request, plan, futures, horizon, point.at_ns)
    return [
        about
        | {
            "operationID": operation,
            "microOperationType": micro,
            "estimatedCost": str(rounded(sum(paths, Decimal(0)) / len(paths), plan.currency)),
            "quantiles": quantiles(paths),
            "resourceUsage": usage(operation, micro),
        }
        for (operation, micro), paths in sorted(added.items())
    ]


def _about(
    sources: Sources, request: Request, plan: VersionedPlan, futures: Futures, horizon: str, until_ns: int
) -> dict[str, Any]:
    start_ns = request.start_ns if horizon == "period" else futures.now.at_ns
    version = in_force(plan, futures)
    backtest = futures.model.metadata.get("backtest")
    return {
        "userID": request.user,
        "timestamp": request.now_ns / 1e9,
        "currency": plan.currency,
        "horizon": horizon,
        "period": {"start": moment(start_ns), "end": moment(until_ns)},
        "plan": {"id": plan.id, "version": version.version},
        "planVersions": versions_of(plan),
        "priceVersions": price_versions(sources, version),
        "model": {name: futures.model.metadata.get(name) for name in ("name", "version")},
        "dataUntil": moment(futures.data_until_ns),
        "backtestCoverage": backtest.get("coverage") if isinstance(backtest, Mapping) else None,
    }


def _point(futures: Futures, horizon: str) -> Checkpoint:
    point = futures.end if horizon == "period" else futures.soon.get(horizon)
    if point is None:
        raise ValueError(f"the period ends before the next {horizon} is over; ask for horizon=period")
    return point


def _means(futures: Futures, horizon: str) -> dict[UsageColumn, float]:
    """Expected usage by column: of the whole period, or of the next hour or day alone."""
    means = _point(futures, horizon).usage.mean(axis=0) - (0.0 if horizon == "period" else futures.now.usage[0])
    return dict(zip(futures.columns, means.tolist(), strict=True))


def _usage(means: Mapping[UsageColumn, float]) -> Callable[[str, str], dict[str, float]]:
    def of(operation: str, micro: str) -> dict[str, float]:
        sums = dict.fromkeys(_FIELDS, 0.0)
        for column, mean in means.items():
            mine = operation in ("", column.operation_id) and micro in ("", column.micro_operation_type)
            if mine and column.field in sums:
                sums[column.field] += mean
        return {name: round(value, 3) for name, value in sums.items()}

    return of
