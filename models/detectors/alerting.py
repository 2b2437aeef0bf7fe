"""From scores to alerts: where an episode opens, and where it outgrows itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.detectors.severity import DOUBT

QUIET_S = 12 * 3_600.0
"""After an alert, what is no more severe belongs to the same episode for so long: half a day, in the series' time."""

ESCALATION = 3.0
"""Within an episode a further alert needs so many times the severity of the one before."""

IN_DOUBT, CONFIRMED = 1 + DOUBT, 1.1
"""An alert below the first was in doubt: within its episode, one from the second on is news."""


def open_alerts(
    severity: NDArray[np.float64], timestamps_s: NDArray[np.float64], bar: float = 1.0
) -> NDArray[np.float64]:
    """The severity where an alert opens, 0 elsewhere; looks back only.

    An alert opens at or above the ``bar`` once `QUIET_S` have passed since the last; before that at `ESCALATION` times
    the severity of the last, or where it confirms one that was in doubt. What stays below the bar opens nothing that
    anyone is told of; its greatest rows are given with their severity all the same, so that alerts can be ranked and
    another bar be tried.
    """
    alerts = np.zeros(len(severity))
    highest, opened_s = 0.0, -np.inf
    for index in np.flatnonzero(severity > 0).tolist():
        score = severity[index]
        if highest and timestamps_s[index] - opened_s > QUIET_S:
            highest = 0.0
        if highest < bar:
            is_news = score > highest
        else:
            confirms = highest < IN_DOUBT * bar and score >= CONFIRMED * bar
            is_news = confirms or score > highest * ESCALATION
        if is_news:
            alerts[index] = score
            highest, opened_s = score, timestamps_s[index]
    return alerts
