"""What people said, laid over the readings of a window: planned time is quiet, raised bars are higher.

Planned usage is neither judged nor learnt: a campaign must not become what is usual. What is quiet beneath is quiet
above too: a parent whose excess is mainly that of planned children, or of children under a raised bar, tells nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from serving.alerts import watch_list as of
from serving.alerts.anomaly import EVERYONE
from serving.alerts.calendar import PlannedEvent
from serving.alerts.episodes import MAINLY, OPEN_AT, STAY_AT
from serving.alerts.watch_list import Floats, Ints, WatchList
from serving.alerts.window_values import Values

Mask = NDArray[np.bool_]

NEVER_JUDGED = -1.0
"""The severity of what no episode may know of, even an open one."""


class Masks:
    """The calendar and the raised bars of one step."""

    def __init__(
        self,
        watched: WatchList,
        events: Sequence[PlannedEvent] = (),
        bars: Mapping[tuple[str, str], float] | None = None,
    ) -> None:
        """``bars`` says how many times the usual bar applies to (user, operation)."""
        self._watched, self._events, self._bars = watched, events, bars or {}

    def __bool__(self) -> bool:
        """Whether anything was said."""
        return bool(self._events or self._bars)

    def planned(self, columns: Ints, start_ns: int) -> Mask:
        """Which series are in a planned event in the window that starts then."""
        is_planned = np.zeros(self._watched.nodes.size, np.bool_)
        for event in self._events:
            if event.is_on(start_ns):
                is_planned[self._watched.covered(event.user, event.operation)] = True
        found: Mask = is_planned[self._watched.series.of(of.NODE, columns)]
        return found

    def bar(self, user: str, operation: str) -> float:
        """How many times the usual bar applies: what was said of an operation of everyone holds for each user."""
        return max(self._bars.get((whose, operation), 1.0) for whose in (user, EVERYONE))

    def laid_over(self, window: Values, levels: Floats, severity: Floats, planned: Mask) -> Floats:
        """Severities after what was said; ``levels`` are the long-run means before the window."""
        judged = np.where(planned, NEVER_JUDGED, severity)
        for index in np.flatnonzero(judged >= STAY_AT).tolist() if self._bars else ():
            judged[index] /= self.bar(*self._watched.keys[int(window.columns[index])][:2])
        is_quiet = planned | ((severity >= OPEN_AT) & (judged < OPEN_AT))
        if is_quiet.any():
            judged[self._explained(window, levels, is_quiet) & (judged >= STAY_AT)] = 0.0
        return judged

    def _explained(self, window: Values, levels: Floats, is_quiet: Mask) -> Mask:
        """Which series have mainly the excess of quiet ones beneath them."""
        watched = self._watched
        beyond = np.maximum(window.values - levels, 0.0) * window.runs
        children = np.flatnonzero(is_quiet & (beyond > 0))
        columns, amounts = window.columns[children], beyond[children]
        node = watched.series.of(of.NODE, columns)
        whole = watched.nodes.of(of.WHOLE_OF, node)
        is_spend = watched.series.of(of.IS_SPEND, columns) > 0
        of_everyone = watched.series.of(of.RELATIVE, columns)
        of_user = np.where(is_spend & (node != whole), watched.nodes.of(of.SPEND_OF, whole), -1)
        of_all = np.where(is_spend, watched.nodes.of(of.SPEND_OF, watched.nodes.of(of.EVERYONE_OF, whole)), -1)
        # A user's spend and that of the user's operations are the same money: the greater counts.
        sums = np.zeros((2, len(watched)))
        for row, parents in ((0, of_everyone), (0, of_user), (0, np.where(node != whole, of_all, -1)), (1, of_all)):
            there = (parents >= 0) & (parents != columns) & ((row == 0) | (node == whole))
            np.add.at(sums[row], parents[there], amounts[there])
        within = sums.max(axis=0)[window.columns]
        explained: Mask = (within > 0) & (within >= MAINLY * beyond)
        return explained
