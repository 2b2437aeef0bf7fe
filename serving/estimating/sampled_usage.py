"""Sampled usage from the last closed window on, kept so that usage of open windows can be laid over it at once.

Sampling is dear and holds until a window closes; what was used since is added in the time it takes to add. Of an open
window in which u has been used and the share p has passed, a path of x is taken to end at u + (1 - p) x. Where prices
change inside a window, both u and what is to come are taken to be even in the time they have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from serving.accounts.billing import longest_window
from serving.accounts.usage_columns import column_sums
from serving.estimating.factor_paths import Key, PathFactors
from serving.estimating.forecasting import NANOSECONDS, Model, model_in_force, sample_futures, usage_panel
from serving.estimating.futures import Checkpoint, Futures, Request, Sources, Span, versioned_plan
from serving.estimating.open_usage import NEAR_WINDOWS, OpenUsage
from serving.estimating.priced_usage import PricedUsage, UnpricedUsage, Wanted
from serving.pricing.paths import UsageColumn
from serving.pricing.usage import Period
from serving.storage.history import History

SEED = 20_240
MARKS, WAY_PATHS, SOON_PATHS = 8, 200, 400
"""At how many moments, and on how many paths, usage on the way is kept, and on how many soon."""
SOON_NS = {"hour": 3_600 * NANOSECONDS, "day": 86_400 * NANOSECONDS}
"""How far ahead estimates look beside the period's end."""
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Usage up to a step on every path (paths, columns), not rounded, and times the factors of each charge.

    ``before`` is what of the usage lies before each instant at which prices change, (paths or 1, columns).
    """

    usage: Array
    before: Mapping[int, Array]
    weighted: Mapping[Key, Array]


@dataclass(frozen=True, slots=True)
class _InPart:
    """An amount in a part of the period, from what lies before instants at which prices change, and the whole."""

    before: Mapping[int, Array]
    whole: Array

    def __call__(self, part: Period) -> Array:
        """What lies in the part."""
        end = self.before.get(part.end_ns, self.whole)
        return end - self.before[part.start_ns] if part.start_ns in self.before else end


class SampledUsage:
    """Paths of a user's usage: sums up to some steps, and the first windows one by one."""

    def __init__(
        self,
        model: Model,
        span: Span,
        columns: Sequence[UsageColumn],
        so_far: Array,
        factors: PathFactors,
        cuts: Mapping[int, Array] | None = None,
    ) -> None:
        """``so_far`` is what was used up to the first window of ``span``, ``cuts`` what of it before prices change."""
        self._model, self._span, self._columns = model, span, tuple(columns)
        self._so_far, self._factors = so_far, factors
        self._cuts = {at_ns: (used, span.before(at_ns)) for at_ns, used in sorted((cuts or {}).items())}
        self._near = np.zeros((1, len(columns), 0))
        self._sums: dict[tuple[int, int], _Sums] = {}

    def keep(self, ahead: Array, rows: Sequence[int]) -> None:
        """Take in paths (paths, series, windows); ``rows`` are the columns of their series."""
        count = len(ahead)
        self._near = np.zeros((count, len(self._columns), min(NEAR_WINDOWS, self._span.horizon)))
        self._near[:, rows] = ahead[:, :, :NEAR_WINDOWS]
        for step, most in {(0, 1), (self._span.horizon, count), *self._soon(count).values(), *self._way(count)}:
            seen = ahead[:most, :, :step]
            usage = np.repeat(self._so_far[None, :], most, axis=0)
            usage[:, rows] += seen.sum(axis=2)
            before = {}
            for at_ns, (used, shares) in self._cuts.items():
                before[at_ns] = used[None, :]
                if shares[:step].any():
                    before[at_ns] = np.repeat(used[None, :], most, axis=0)
                    before[at_ns][:, rows] += seen @ shares[:step]
            self._sums[step, most] = _Sums(usage, before, self._factors.weighted(seen, rows))

    @property
    def nbytes(self) -> int:
        """How much memory the paths take."""
        sums = self._sums.values()
        arrays = [array for one in sums for array in (one.usage, *one.before.values(), *one.weighted.values())]
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
        sums, wide = self._sums[step, count], ((0, 0), (0, used.shape[1] - len(self._columns)))
        windows = min(step, len(used))
        near = np.pad(self._near[:count, :, :windows], (*wide, (0, 0)))
        known = (used[:windows] if step else used).T[None]

        def laid(of_known: Array, of_near: Array) -> Array:
            more: Array = known * of_known[: known.shape[2]]
            return more - of_near[:windows] * near if step else more

        more = laid(np.ones(len(used)), passed)
        usage, least = np.pad(sums.usage, wide) + more.sum(axis=2), np.pad(self._so_far, wide[1]) + used.sum(axis=0)
        more_before, before, least_before = {}, {}, {}
        for at_ns, one in sums.before.items():
            so_far, shares = self._cuts[at_ns]
            begun = shares[: len(used)]
            of_known = np.where(begun <= passed, begun / np.maximum(passed, 1e-9), 1.0)
            more_before[at_ns] = laid(of_known, np.minimum(begun, passed)) if begun.any() else np.zeros_like(known)
            before[at_ns] = np.pad(one, wide) + more_before[at_ns].sum(axis=2)
            least_before[at_ns] = np.pad(so_far, wide[1]) + of_known @ used
        weighted = {key: np.pad(one, wide) for key, one in sums.weighted.items()}
        factors = self._factors.means(weighted, _InPart(before, usage), _InPart(more_before, more))
        if step:
            usage = _whole(usage, least)
            whole = {at_ns: _whole(one, least_before[at_ns]) for at_ns, one in before.items() if len(one) > 1}
            before |= {at_ns: np.minimum(one, usage) for at_ns, one in whole.items()}
        return Checkpoint(self._span.at_ns(step), usage, factors, before)

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
    plans = [versioned_plan(sources, plan_id, request.user, request.period) for plan_id in sources.plans]
    priced = PricedUsage(version for plan in plans for version in plan.plans)
    wanted: Wanted = UnpricedUsage(priced) if unpriced else priced
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
    plans = [] if unpriced else plans
    cuts = _before(sources, request, sorted({cut for plan in plans for cut in plan.cuts_ns}), until_ns, so_far)
    factors = PathFactors(sources, request, plans, columns, cuts | {request.end_ns: made}, span)
    sampled = SampledUsage(model, span, columns, made, factors, cuts)
    sampled.keep(ahead, [columns.index(column_of(name)) for name in panel.series])
    return sampled


def _before(
    sources: Sources, request: Request, cuts_ns: Sequence[int], until_ns: int, so_far: Mapping[UsageColumn, float]
) -> dict[int, Array]:
    """What of the usage so far lies before each cut: from windows that end at the cut, where they are kept."""
    made, most = {}, np.array(list(so_far.values()))
    for cut in cuts_ns:
        made[cut] = most
        if cut < until_ns:
            window_s = longest_window(sources.commerce.windows_s, (request.start_ns, cut))
            sums = metered(sources.history, request, window_s, cut)
            made[cut] = np.minimum([sums.get(column, 0.0) for column in so_far], most)
    return made


def usage_futures(sources: Sources, request: Request, opened: OpenUsage | None = None) -> Futures:
    """Usage at the period's end on every sample path: what was metered, also in open windows, and what is to come."""
    return sampled_usage(sources, request).futures(opened or OpenUsage())


def _whole(usage: Array, least: Array) -> Array:
    """Whole units, as most resources are counted; rounding must not take back what has been used."""
    whole: Array = np.maximum(np.rint(usage), least)
    return whole


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
