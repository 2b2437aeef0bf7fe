"""Sampled usage from the last closed window on, kept so that usage of open windows can be laid over it at once.

Sampling is dear and holds until a window closes; what was used since is added in the time it takes to add. Of an open
window in which u has been used and the share p has passed, a path of x is taken to end at u + (1 - p) x.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from serving.accounts.usage_columns import column_sums
from serving.estimating.factor_paths import PathFactors
from serving.estimating.forecasting import NANOSECONDS, Model, model_in_force, sample_futures, usage_panel
from serving.estimating.futures import Checkpoint, Futures, Request, Sources, Span
from serving.estimating.open_usage import NEAR_WINDOWS, OpenUsage
from serving.estimating.priced_usage import PricedUsage, UnpricedUsage, Wanted
from serving.pricing.paths import UsageColumn
from serving.storage.history import History

SEED = 20_240
MARKS, WAY_PATHS, SOON_PATHS = 8, 200, 400
"""At how many moments, and on how many paths, usage on the way is kept, and on how many soon."""
SOON_NS = {"hour": 3_600 * NANOSECONDS, "day": 86_400 * NANOSECONDS}
"""How far ahead estimates look beside the period's end."""
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Usage up to a step on every path (paths, columns), not rounded, and times the factors of each charge."""

    usage: Array
    weighted: Mapping[tuple[str, str], Array]


class SampledUsage:
    """Paths of a user's usage: sums up to some steps, and the first windows one by one."""

    def __init__(
        self, model: Model, span: Span, columns: Sequence[UsageColumn], so_far: Array, factors: PathFactors
    ) -> None:
        self._model, self._span, self._columns = model, span, tuple(columns)
        self._so_far, self._factors = so_far, factors
        self._near = np.zeros((1, len(columns), 0))
        self._sums: dict[tuple[int, int], _Sums] = {}

    def keep(self, ahead: Array, rows: Sequence[int]) -> None:
        """Take in paths (paths, series, windows); ``rows`` are the columns of their series."""
        count = len(ahead)
        self._near = np.zeros((count, len(self._columns), min(NEAR_WINDOWS, self._span.horizon)))
        self._near[:, rows] = ahead[:, :, :NEAR_WINDOWS]
        for step, most in {(0, 1), (self._span.horizon, count), *self._soon(count).values(), *self._way(count)}:
            usage = np.repeat(self._so_far[None, :], most, axis=0)
            usage[:, rows] += ahead[:most, :, :step].sum(axis=2)
            self._sums[step, most] = _Sums(usage, self._factors.weighted(ahead[:most, :, :step], rows))

    @property
    def nbytes(self) -> int:
        """How much memory the paths take."""
        arrays = [array for one in self._sums.values() for array in (one.usage, *one.weighted.values())]
        return self._near.nbytes + sum(array.nbytes for array in arrays)

    def futures(self, opened: OpenUsage) -> Futures:
        """The paths with what has been used in open windows."""
        columns = dict.fromkeys((*self._columns, *(column for column, _ in opened.used)))
        place = {column: index for index, column in enumerate(columns)}
        used = np.zeros((NEAR_WINDOWS, len(columns)))
        for column, amounts in opened.used:
            used[:, place[column]] = amounts
        used = used[: self._near.shape[2]]
        count = len(self._near)
        points = {key: self._laid(*key, used, np.array(opened.passed[: len(used)])) for key in self._sums}
        return Futures(
            tuple(columns),
            points[0, 1],
            points[self._span.horizon, count],
            max(self._span.until_ns, opened.until_ns),
            self._span.at_ns(max(np.flatnonzero(used.any(axis=1)).tolist(), default=-1) + 1),
            self._model,
            {name: points[key] for name, key in self._soon(count).items()},
            tuple(points[key] for key in self._way(count)),
        )

    def _laid(self, step: int, count: int, used: Array, passed: Array) -> Checkpoint:
        """One checkpoint with open usage (windows, columns) on it; ``passed`` is the share of each window."""
        sums, added = self._sums[step, count], used.shape[1] - len(self._columns)
        windows = min(step, len(used))
        less = passed[:windows] * np.pad(self._near[:count, :, :windows], ((0, 0), (0, added), (0, 0)))
        more = used.T[None] if step == 0 else used[:windows].T[None] - less
        usage = np.pad(sums.usage, ((0, 0), (0, added)))
        factors = self._factors.means(
            {key: np.pad(one, ((0, 0), (0, added))) for key, one in sums.weighted.items()}, usage, more
        )
        usage = usage + more.sum(axis=2)
        if step:  # whole units, as most resources are counted; rounding must not take back what has been used
            usage = np.maximum(np.rint(usage), np.pad(self._so_far, (0, added)) + used.sum(axis=0))
        return Checkpoint(self._span.at_ns(step), usage, factors)

    def _soon(self, count: int) -> dict[str, tuple[int, int]]:
        steps = {name: round(span_ns / self._span.window_ns) for name, span_ns in SOON_NS.items()}
        return {name: (step, min(SOON_PATHS, count)) for name, step in steps.items() if 0 < step <= self._span.horizon}

    def _way(self, count: int) -> list[tuple[int, int]]:
        steps = sorted({self._span.horizon * mark // (MARKS + 1) for mark in range(1, MARKS + 1)} - {0})
        return [(step, min(WAY_PATHS, count)) for step in steps]


def sampled_usage(sources: Sources, request: Request, unpriced: bool = False) -> SampledUsage:
    """Usage of the user's priced series: what was metered until the last closed window, and paths of what is to come.

    With ``unpriced`` that of all others. Raises TooLittleHistoryError where there is too little usage to look that far
    ahead.
    """
    model = model_in_force(sources.champion)
    plans = [plan.of_customer(request.user) for plan in sources.plans.values()]
    wanted: Wanted = UnpricedUsage(PricedUsage(plans)) if unpriced else PricedUsage(plans)
    window_s = model.window_s or request.window_s
    panel = usage_panel(sources.history, window_s, request.now_ns, request.user, model.season, wanted.resource)
    panel = panel.select(np.flatnonzero([wanted.column(column_of(name)) for name in panel.series]))
    until_ns, window_ns = int(panel.times_ns(1)[-1]), panel.window_ns
    span = Span(until_ns, window_ns, max(0, -(-(request.end_ns - until_ns) // window_ns)))
    sums = metered(sources.history, request, window_s, min(until_ns, request.end_ns))
    so_far = dict.fromkeys(map(column_of, panel.series), 0.0) | {k: v for k, v in sums.items() if wanted.column(k)}
    columns = list(so_far)
    ahead = sample_futures(model, panel, span.horizon, request.paths, SEED)
    ahead[:, :, : max(0, (request.start_ns - until_ns) // window_ns)] = 0.0  # before the period begins
    made = np.array(list(so_far.values()))
    factors = PathFactors(sources, request, [] if unpriced else plans, columns, made, span)
    sampled = SampledUsage(model, span, columns, made, factors)
    sampled.keep(ahead, [columns.index(column_of(name)) for name in panel.series])
    return sampled


def usage_futures(sources: Sources, request: Request, opened: OpenUsage | None = None) -> Futures:
    """Usage at the period's end on every sample path: what was metered, also in open windows, and what is to come."""
    return sampled_usage(sources, request).futures(opened or OpenUsage())


def metered(history: History, request: Request, window_s: int, until_ns: int) -> dict[UsageColumn, float]:
    """What was used from the period's start to ``until_ns``, by column."""
    if until_ns <= request.start_ns:
        return {}
    totals = history.totals(window_s, request.start_ns, until_ns, request.user)
    return {column: values[0] for column, values in column_sums(totals.with_columns(slot=pl.lit(0)), 1).items()}


def column_of(series: str) -> UsageColumn:
    """The usage column of a series name ``user|operation|micro-operation type|resource``."""
    _, operation, micro, resource = series.rsplit("|", 3)
    return UsageColumn(operation, micro, resource)
