"""The predictive bill: sample futures of usage, each priced through the plan, told as a distribution of money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.series import all_series
from models.contracts import LEVELS
from models.panel import Panel
from serving.champion import ChampionWatch
from serving.forecasting import NANOSECONDS, Model, model_in_force, sample_futures, usage_panel
from serving.pricing.money import rounded
from serving.pricing.paths import PathCosts, UsageColumn, rate_paths
from serving.pricing.plan import Plan
from serving.storage.history import History

SEED = 20_240
MARKS, WAY_PATHS = 6, 200
"""At how many moments, and on how many paths, usage on the way to the period's end is kept."""


class Sources(Protocol):
    """What an estimate rests on; the running platform is one."""

    @property
    def history(self) -> History:
        """Closed windows of usage."""
        ...

    @property
    def champion(self) -> ChampionWatch:
        """The model in force."""
        ...

    @property
    def plans(self) -> Mapping[str, Plan]:
        """Price plans by their id."""
        ...


class UnknownPlanError(KeyError):
    """No plan of that id; the message lists those there are."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class Request:
    """Whose bill, over which period, as seen at which moment; all times in Unix nanoseconds."""

    user: str
    start_ns: int
    end_ns: int
    now_ns: int
    window_s: int
    paths: int = 1_000
    budget: Decimal | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for a period that ends before it starts or before now, or too few paths."""
        if not self.start_ns < self.end_ns:
            raise ValueError(f"the period ends at {_iso(self.end_ns)}, not after its start {_iso(self.start_ns)}")
        if not 10 <= self.paths <= 100_000:
            raise ValueError(f"{self.paths} sample paths; between 10 and 100000 are allowed")


@dataclass(frozen=True, slots=True)
class Futures:
    """Usage of the period so far and at its end on every sample path: (columns) and (paths, columns).

    ``on_the_way`` is the usage up to each of ``marks_ns`` on the first `WAY_PATHS` paths: (marks, paths, columns).
    """

    columns: tuple[UsageColumn, ...]
    so_far: NDArray[np.float64]
    ends: NDArray[np.float64]
    data_until_ns: int
    model: Model
    marks_ns: tuple[int, ...] = ()
    on_the_way: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0, 0)))


def estimate(
    sources: Sources, request: Request, plan_ids: Sequence[str], futures: Futures | None = None
) -> dict[str, Any]:
    """The bill at period end under each plan, from the same sample paths, as one document.

    ``futures`` are those of `usage_futures` for the same request, where the caller has them already.

    Raises UnknownPlanError, and TooLittleHistoryError when there is too little usage to look that far ahead.
    """
    plans = [plan_named(sources.plans, plan_id) for plan_id in plan_ids]
    futures = futures if futures is not None else usage_futures(sources, request)
    costs = [rate_paths(plan, futures.columns, futures.ends) for plan in plans]
    document = {
        "user": request.user,
        "period": {"start": _iso(request.start_ns), "end": _iso(request.end_ns)},
        "now": _iso(request.now_ns),
        "data_until": _iso(futures.data_until_ns),
        "model": futures.model.describe(),
        "paths": request.paths,
        "estimates": [_one(plan, futures, cost, request) for plan, cost in zip(plans, costs, strict=True)],
    }
    if len(plans) > 1:
        document["comparison"] = compare(plans, costs)
    return document


def usage_futures(sources: Sources, request: Request) -> Futures:
    """Usage of the user's series at period end on every sample path: what was metered plus what is to come."""
    model = model_in_force(sources.champion)
    panel = usage_panel(sources.history, model.window_s or request.window_s, request.now_ns, request.user, model.season)
    window_ns = panel.window_ns
    until_ns = int(panel.times_ns(1)[-1])
    columns, so_far = metered(sources.history, panel, request, until_ns)
    horizon = max(0, -(-(request.end_ns - until_ns) // window_ns))
    ends = np.repeat(so_far[None, :], request.paths, axis=0)
    steps = sorted({horizon * mark // (MARKS + 1) for mark in range(1, MARKS + 1)} - {0})
    way = np.repeat(ends[None, :WAY_PATHS], len(steps), axis=0)
    if horizon:
        paths = sample_futures(model, panel, horizon, request.paths, SEED)
        place = {column: index for index, column in enumerate(columns)}
        rows = [place[_column(name)] for name in panel.series]
        ends[:, rows] += paths.sum(axis=2)
        for index, step in enumerate(steps):
            way[index][:, rows] += paths[:WAY_PATHS, :, :step].sum(axis=2)
    marks = tuple(until_ns + step * window_ns for step in steps)
    # Whole units, as most resources are counted; rounding must not take back what has been used.
    ends, way = np.maximum(np.rint(ends), so_far), np.maximum(np.rint(way), so_far)
    return Futures(columns, so_far, ends, until_ns, model, marks, way)


def fan(plan: Plan, futures: Futures) -> list[tuple[int, dict[str, str]]]:
    """Quantiles of the bill at moments on the way to the period's end: (Unix nanoseconds, amounts by level)."""
    return [
        (mark_ns, _quantiles(rate_paths(plan, futures.columns, usage).totals))
        for mark_ns, usage in zip(futures.marks_ns, futures.on_the_way, strict=True)
    ]


def metered(
    history: History, panel: Panel, request: Request, until_ns: int
) -> tuple[tuple[UsageColumn, ...], NDArray[np.float64]]:
    """Columns of all series of the period or of the panel, and their sums from the period's start to ``until_ns``."""
    window_s = panel.window_ns // NANOSECONDS
    frame = history.windows(window_s, request.start_ns, until_ns, user=request.user)
    sums: dict[UsageColumn, float] = {_column(name): 0.0 for name in panel.series}
    if not frame.is_empty():
        totals = all_series(frame, panel.window_ns).group_by("series").agg(pl.col("value").sum())
        sums |= {_column(name): value for name, value in totals.iter_rows()}
    return tuple(sums), np.array(list(sums.values()))


def compare(plans: Sequence[Plan], costs: Sequence[PathCosts]) -> dict[str, Any]:
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


def _one(plan: Plan, futures: Futures, cost: PathCosts, request: Request) -> dict[str, Any]:
    now = rate_paths(plan, futures.columns, futures.so_far[None, :])
    document: dict[str, Any] = {
        "plan": {"id": plan.id, "version": plan.version},
        "currency": plan.currency,
        "spend_so_far": str(rounded(now.totals[0], plan.currency)),
        "expected": str(rounded(_mean(cost.totals), plan.currency)),
        "quantiles": _quantiles(cost.totals),
        "operations": _operations(now, cost),
    }
    if request.budget is not None:
        over = sum(total > request.budget for total in cost.totals)
        document["budget"] = {"amount": str(request.budget), "probability_over": over / len(cost.totals)}
    return document


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
        "quantiles": {level: str(_fine(Decimal(value))) for level, value in _quantiles(paths).items()}
    }


def _quantiles(paths: Sequence[Decimal]) -> dict[str, str]:
    """Empirical quantiles by level: the smallest amount that at least that share of the paths does not exceed."""
    ordered = sorted(paths)
    places = [min(len(ordered) - 1, max(0, int(np.ceil(level * len(ordered))) - 1)) for level in LEVELS]
    return {f"{level:g}": str(ordered[place]) for level, place in zip(LEVELS, places, strict=True)}


def _mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, Decimal(0)) / len(values)


def _fine(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"))


def plan_named(plans: Mapping[str, Plan], plan_id: str) -> Plan:
    """The plan of an id; raises UnknownPlanError that lists those there are."""
    if plan_id not in plans:
        raise UnknownPlanError(f"no plan {plan_id!r}; there are {', '.join(sorted(plans)) or 'none'}")
    return plans[plan_id]


def _column(series: str) -> UsageColumn:
    """The usage column of a series name ``user|operation|micro-operation type|resource``."""
    _, operation, micro, resource = series.rsplit("|", 3)
    return UsageColumn(operation, micro, resource)


def _iso(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / NANOSECONDS, UTC).isoformat().replace("+00:00", "Z")
