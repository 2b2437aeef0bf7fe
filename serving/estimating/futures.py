"""Futures of a user's usage: what was metered plus sampled paths of what is to come, at moments on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.series import all_series
from models.panel import Panel
from serving.accounts.commerce import Commerce
from serving.champion import ChampionWatch
from serving.estimating.factor_paths import PathFactors
from serving.estimating.forecasting import NANOSECONDS, Model, model_in_force, sample_futures, usage_panel
from serving.pricing.paths import Means, PathCosts, UsageColumn, rate_paths
from serving.pricing.plan import Plan
from serving.storage.history import History

SEED = 20_240
MARKS, WAY_PATHS, SOON_PATHS = 8, 200, 400
"""At how many moments, and on how many paths, usage on the way is kept, and on how many soon."""
SOON_NS = {"hour": 3_600 * NANOSECONDS, "day": 86_400 * NANOSECONDS}
"""How far ahead estimates look beside the period's end."""
Usage = NDArray[np.float64]


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

    @property
    def commerce(self) -> Commerce:
        """Published prices and what holds for customers."""
        ...


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
            raise ValueError(f"the period ends at {self.end_ns} ns, not after its start at {self.start_ns} ns")
        if not 10 <= self.paths <= 100_000:
            raise ValueError(f"{self.paths} sample paths; between 10 and 100000 are allowed")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Usage of the period up to a moment on every path, (paths, columns), and mean factors by plan and charge."""

    at_ns: int
    usage: Usage
    factors: Mapping[str, Means] = field(default_factory=dict)

    def costs(self, plan: Plan, columns: Sequence[UsageColumn]) -> PathCosts:
        """The bill up to the moment on every path; raises what `rate_paths` raises."""
        return rate_paths(plan, columns, self.usage, self.factors.get(plan.id))


@dataclass(frozen=True, slots=True)
class Futures:
    """Usage so far (one path), at the period's end, soon (by `SOON_NS`, inside the period), and on the way.

    Checkpoints on the way hold the first `WAY_PATHS` paths only.
    """

    columns: tuple[UsageColumn, ...]
    now: Checkpoint
    end: Checkpoint
    data_until_ns: int
    model: Model
    soon: Mapping[str, Checkpoint] = field(default_factory=dict)
    way: tuple[Checkpoint, ...] = ()


def usage_futures(sources: Sources, request: Request) -> Futures:
    """Usage of the user's series at period end on every sample path: what was metered plus what is to come."""
    model = model_in_force(sources.champion)
    panel = usage_panel(sources.history, model.window_s or request.window_s, request.now_ns, request.user, model.season)
    window_ns = panel.window_ns
    until_ns = int(panel.times_ns(1)[-1])
    columns, so_far = metered_so_far(sources.history, panel, request, until_ns)
    horizon = max(0, -(-(request.end_ns - until_ns) // window_ns))
    place = {column: index for index, column in enumerate(columns)}
    rows = [place[column_of(name)] for name in panel.series]
    ahead = sample_futures(model, panel, horizon, request.paths, SEED) if horizon else np.zeros((request.paths, 0, 0))
    factors = PathFactors(sources, request, columns, so_far, (until_ns, window_ns, horizon))

    def checkpoint(step: int, count: int) -> Checkpoint:
        usage = np.repeat(so_far[None, :], count, axis=0)
        if step:
            usage[:, rows] += ahead[:count, :, :step].sum(axis=2)
        # Whole units, as most resources are counted; rounding must not take back what has been used.
        usage = np.maximum(np.rint(usage), so_far)
        return Checkpoint(until_ns + step * window_ns, usage, factors.means(ahead[:count], rows, step))

    steps = sorted({horizon * mark // (MARKS + 1) for mark in range(1, MARKS + 1)} - {0})
    soon = {name: round(span / window_ns) for name, span in SOON_NS.items() if 0 < round(span / window_ns) <= horizon}
    return Futures(
        columns,
        checkpoint(0, 1),
        checkpoint(horizon, request.paths),
        until_ns,
        model,
        {name: checkpoint(step, min(SOON_PATHS, request.paths)) for name, step in soon.items()},
        tuple(checkpoint(step, min(WAY_PATHS, request.paths)) for step in steps),
    )


def metered_so_far(
    history: History, panel: Panel, request: Request, until_ns: int
) -> tuple[tuple[UsageColumn, ...], Usage]:
    """Columns of all series of the period or of the panel, and their sums from the period's start to ``until_ns``."""
    window_s = panel.window_ns // NANOSECONDS
    frame = history.windows(window_s, request.start_ns, until_ns, user=request.user)
    sums: dict[UsageColumn, float] = {column_of(name): 0.0 for name in panel.series}
    if not frame.is_empty():
        totals = all_series(frame, panel.window_ns).group_by("series").agg(pl.col("value").sum())
        sums |= {column_of(name): value for name, value in totals.iter_rows()}
    return tuple(sums), np.array(list(sums.values()))


def column_of(series: str) -> UsageColumn:
    """The usage column of a series name ``user|operation|micro-operation type|resource``."""
    _, operation, micro, resource = series.rsplit("|", 3)
    return UsageColumn(operation, micro, resource)
