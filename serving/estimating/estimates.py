"""The predictive bill: sample futures of usage, each priced through the plan, told as a distribution of money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from models.contracts import LEVELS
from serving.accounts.billing import HistoryReader
from serving.demand.demand_publisher import demand_rules
from serving.estimating.forecasting import NANOSECONDS
from serving.estimating.futures import Checkpoint, Futures, Request, Sources, versioned_plan
from serving.estimating.passing import along, next_tiers, passing
from serving.estimating.sampled_usage import usage_futures
from serving.pricing.money import rounded
from serving.pricing.paths import PathCosts
from serving.pricing.plan import Plan
from serving.pricing.versioned_plan import VersionedPlan


def estimate(
    sources: Sources, request: Request, plan_ids: Sequence[str], futures: Futures | None = None
) -> dict[str, Any]:
    """The bill at period end under each plan, from the same sample paths, as one document.

    Where a plan changes within the period, what is used in each part is priced by the version that holds in it.
    ``futures`` are those of `usage_futures` for the same request, where the caller has them already.

    Raises UnknownPlanError, and TooLittleHistoryError when there is too little usage to look that far ahead.
    """
    plans = [versioned_plan(sources, plan_id, request.user, request.period) for plan_id in plan_ids]
    futures = futures if futures is not None else usage_futures(sources, request)
    costs = [futures.end.costs(plan, futures.columns) for plan in plans]
    document = {
        "user": request.user,
        "period": {"start": moment(request.start_ns), "end": moment(request.end_ns)},
        "now": moment(request.now_ns),
        "data_until": moment(futures.data_until_ns),
        "model": futures.model.describe(),
        "paths": request.paths,
        "estimates": [_one(sources, plan, futures, cost, request) for plan, cost in zip(plans, costs, strict=True)],
    }
    if len(plans) > 1:
        document["comparison"] = compare(plans, costs)
    return document


def fan(plan: VersionedPlan, futures: Futures) -> list[tuple[int, dict[str, str]]]:
    """Quantiles of the bill at moments on the way to the period's end: (Unix nanoseconds, amounts by level)."""
    return [(point.at_ns, quantiles(point.costs(plan, futures.columns).totals)) for point in futures.way]


def compare(plans: Sequence[VersionedPlan], costs: Sequence[PathCosts]) -> dict[str, Any]:
    """Which plan is cheapest, how often over the paths, and what it saves in expectation against the others."""
    if len({plan.currency for plan in plans}) > 1:
        return {"note": "plans of different currencies are not compared"}
    totals = [cost.totals for cost in costs]
    wins = [0] * len(plans)
    for bills in zip(*totals, strict=True):
        wins[bills.index(min(bills))] += 1
    means = [_mean(values) for values in totals]
    best = means.index(min(means))
    return {
        "cheapest": plans[best].id,
        "probability": wins[best] / len(totals[best]),
        "expected": {plan.id: str(rounded(mean, plan.currency)) for plan, mean in zip(plans, means, strict=True)},
        "saving": str(
            rounded(min(mean for i, mean in enumerate(means) if i != best) - means[best], plans[best].currency)
        ),
    }


def _one(sources: Sources, plan: VersionedPlan, futures: Futures, cost: PathCosts, request: Request) -> dict[str, Any]:
    now = futures.now.costs(plan, futures.columns)
    document: dict[str, Any] = {
        "plan": {"id": plan.id, "version": in_force(plan, futures).version},
        "versions": versions_of(plan),
        "price_versions": price_versions(sources, in_force(plan, futures)),
        "currency": plan.currency,
        "spend_so_far": str(rounded(_spent(sources, plan, futures, request), plan.currency)),
        "expected": str(rounded(_mean(cost.totals), plan.currency)),
        "quantiles": quantiles(cost.totals),
        "ahead": {
            name: _ahead(point.costs(plan, futures.columns).totals, now.totals[0], point.at_ns, plan.currency)
            for name, point in futures.soon.items()
        },
        "tiers": next_tiers(plan, futures),
        "operations": _operations(now, cost),
    }
    if request.budget is not None:
        over = sum(total > request.budget for total in cost.totals)
        document["budget"] = {
            "amount": str(request.budget),
            "probability_over": over / len(cost.totals),
            "passed": _date_passed(plan, futures, cost, float(request.budget)) if over else None,
        }
    return document


def _ahead(totals: Sequence[Decimal], now: Decimal, at_ns: int, currency: str) -> dict[str, Any]:
    """What is added to the bill from now up to a moment: path by path the difference of two ratings."""
    added = [total - now for total in totals]
    return {"until": moment(at_ns), "expected": str(rounded(_mean(added), currency)), "quantiles": quantiles(added)}


def _date_passed(plan: VersionedPlan, futures: Futures, cost: PathCosts, budget: float) -> dict[str, Any] | None:
    ends = id(futures.end)

    def value(point: Checkpoint) -> list[float]:
        return [float(total) for total in (cost if id(point) == ends else point.costs(plan, futures.columns)).totals]

    return passing(*along(futures, value), budget)


def price_versions(sources: Sources, plan: Plan) -> dict[str, str]:
    """The latest published price of each demand rule of a plan."""
    known = {rule.id: sources.commerce.prices.latest(plan.id, rule.id) for rule in demand_rules(plan)}
    return {name: found[0].version for name, found in known.items() if found}


def in_force(plan: VersionedPlan, futures: Futures) -> Plan:
    """The version that prices what is used now: that of the moment up to which usage is known."""
    return plan.slices[plan.place(futures.data_until_ns)].plan


def versions_of(plan: VersionedPlan) -> list[dict[str, Any]]:
    """Which version prices what is used when, over the whole period."""
    return [
        {
            "id": one.plan.id,
            "version": one.plan.version,
            "from": moment(one.part.start_ns),
            "until": moment(one.part.end_ns),
        }
        for one in plan.slices
    ]


def _spent(sources: Sources, plan: VersionedPlan, futures: Futures, request: Request) -> Decimal:
    """Spend so far: exact, from the bill itself where prices follow time, as paths round their mean factors.

    So it is where the plan changes within the period: each part of it is billed under the version that holds.
    """
    until_ns = min(futures.spent_until_ns, request.end_ns)
    plain = len(plan.slices) == 1 and not any(charge.factors for charge in plan.slices[0].plan.charges)
    if plain or until_ns <= request.start_ns:
        return futures.now.costs(plan, futures.columns).totals[0]
    reader = HistoryReader(sources.history, request.user)
    biller = sources.commerce.biller
    return biller.under(plan.plans, request.user, request.period, reader, until_ns=until_ns).total


def _operations(now: PathCosts, cost: PathCosts) -> list[dict[str, Any]]:
    """Operations by expected cost, dearest first, each with its micro-operations, all summed path by path."""
    operations: dict[str, list[tuple[str, list[Decimal], Decimal]]] = {}
    for (operation, micro), paths in cost.parts.items():
        spent = now.parts.get((operation, micro), [Decimal(0)])[0]
        operations.setdefault(operation, []).append((micro, paths, spent))
    rows = []
    for operation, parts in operations.items():
        whole = [sum(values, Decimal(0)) for values in zip(*(paths for _, paths, _ in parts), strict=True)]
        spent = sum((spent for _, _, spent in parts), Decimal(0))
        micros = [
            {"microOperationType": micro} | _money(paths, part)
            for micro, paths, part in sorted(parts, key=lambda part: -_mean(part[1]))
        ]
        rows.append((_mean(whole), {"operationID": operation} | _money(whole, spent) | {"microOperations": micros}))
    return [row for _, row in sorted(rows, key=lambda pair: -pair[0])]


def _money(paths: Sequence[Decimal], spent: Decimal) -> dict[str, Any]:
    return {"so_far": str(_fine(spent)), "expected": str(_fine(_mean(paths)))} | {
        "quantiles": {level: str(_fine(Decimal(value))) for level, value in quantiles(paths).items()}
    }


def quantiles(paths: Sequence[Decimal]) -> dict[str, str]:
    """Empirical quantiles by level: the smallest amount that at least that share of the paths does not exceed."""
    ordered = sorted(paths)
    places = [min(len(ordered) - 1, max(0, int(np.ceil(level * len(ordered))) - 1)) for level in LEVELS]
    return {f"{level:g}": str(ordered[place]) for level, place in zip(LEVELS, places, strict=True)}


def _mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, Decimal(0)) / len(values)


def _fine(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"))


def moment(time_ns: int) -> str:
    """A moment in RFC 3339, UTC."""
    return datetime.fromtimestamp(time_ns / NANOSECONDS, UTC).isoformat().replace("+00:00", "Z")
