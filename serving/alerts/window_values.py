"""What the detectors look at in one window: usage a run, and spend a run and a window, at every level of the tree.

Usage is judged by the run, so that more customers are no anomaly; operations without a finished run in a window have
no such value for it: how long a run takes is not a matter of the window's edges.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.window_rows import GRID, WindowRows
from serving.alerts import watch_list as of
from serving.alerts.watch_list import Floats, Ints, WatchList


class Values(NamedTuple):
    """One value a watched series, no series twice; ``runs`` is what it was divided by, 1 for spend of a window."""

    columns: Ints
    values: Floats
    runs: Floats


class Summing:
    """Sums by number, in time of what is summed and not of how many numbers there are."""

    def __init__(self) -> None:
        self._last: Ints = np.zeros(0, np.intp)
        self._sums: Floats = np.zeros(0)

    def up(self, numbers: Ints, values: Floats, size: int) -> tuple[Ints, Floats]:
        """Distinct ``numbers``, all below ``size``, and the sum of the values of each, added in their order."""
        if size > len(self._last):
            self._last, self._sums = np.zeros(2 * size, np.intp), np.zeros(2 * size)
        places = np.arange(len(numbers))
        self._last[numbers] = places
        distinct = numbers[self._last[numbers] == places]
        self._sums[distinct] = 0.0
        np.add.at(self._sums, numbers, values)
        return distinct, np.take(self._sums, distinct)


class WindowValues:
    """Computes the values of windows; keeps room to do so."""

    def __init__(self, watched: WatchList) -> None:
        """Of the series of a watch list that has taken in all series of the windows."""
        self._watched = watched
        self._series, self._nodes = Summing(), Summing()
        self._runs: Floats = np.zeros(0)

    def of(self, rows: WindowRows, with_money: bool) -> Values:
        """The values of one window, in an order that does not depend on how series or nodes are numbered.

        Sums of whole numbers and of whole millionths are exact; those of money are added up in the order of names.
        """
        watched = self._watched
        rows = rows.take(watched.order(rows.series))
        usage = watched.engine(of.USAGE, rows.series)
        is_judged = usage >= 0
        numbers = rows.series[is_judged]
        amounts = np.concatenate([rows.counts, rows.amounts])
        amount = amounts[watched.engine(of.AMOUNT, numbers), np.flatnonzero(is_judged)]
        mine = self._series.up(usage[is_judged], amount, len(watched))
        everyone = self._series.up(watched.engine(of.USAGE_OF_ALL, numbers), amount, len(watched))
        columns = np.concatenate([mine[0], everyone[0]])
        totals = np.concatenate([mine[1], everyone[1]]) / watched.prices.of(of.UNIT, columns)
        with_runs = self._count_runs(rows)
        runs = self._runs[watched.series.of(of.NODE, columns)]
        parts = [_a_run(columns, totals, runs)]
        if with_money:
            parts += self._money(columns[: len(mine[0])], totals[: len(mine[0])])
        self._runs[with_runs] = 0.0
        return Values(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _count_runs(self, rows: WindowRows) -> Ints:
        """Put the finished runs of every node in their place; returns the nodes."""
        watched, size = self._watched, self._watched.nodes.size
        if size > len(self._runs):
            self._runs = np.zeros(2 * size)
        node = watched.engine(of.RUNS, rows.series)
        counts = node >= 0
        node, units = node[counts], rows.amounts[1, counts]
        found = [self._nodes.up(which, units, size) for which in (node, watched.nodes.of(of.EVERYONE_OF, node))]
        for nodes, total in found:
            self._runs[nodes] = total / GRID
        return np.concatenate([nodes for nodes, _ in found])

    def _money(self, columns: Ints, totals: Floats) -> list[Values]:
        """Spend a run of operations, of users and of everyone; and of a window, of operations, users and all."""
        watched = self._watched
        money = totals * watched.prices.of(of.RATE, columns)
        node = watched.series.of(of.NODE, columns)
        size = watched.nodes.size
        whole = watched.nodes.of(of.WHOLE_OF, node)
        levels = [
            self._nodes.up(nodes, money, size)
            for nodes in (
                node,
                watched.nodes.of(of.EVERYONE_OF, node),
                whole,
                watched.nodes.of(of.EVERYONE_OF, whole),
            )
        ]
        nodes, spent = (np.concatenate(part) for part in zip(*levels[:2], strict=True))
        a_run = _a_run(watched.nodes.of(of.SPEND_A_RUN_OF, nodes), spent, self._runs[nodes])
        windows = [
            Values(watched.nodes.of(of.SPEND_OF, nodes), spent, np.ones(len(nodes)))
            for nodes, spent in (levels[0], *levels[2:])
        ]
        return [a_run, *windows]


def _a_run(columns: Ints, totals: Floats, runs: Floats) -> Values:
    there = runs > 0
    return Values(columns[there], totals[there] / runs[there], runs[there])


def edges(starts_ns: NDArray[np.int64]) -> list[tuple[int, int]]:
    """First and last but one position of each window among rows sorted by start."""
    if not len(starts_ns):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(starts_ns)) + 1).tolist(), len(starts_ns)]
    return list(itertools.pairwise(cuts))
