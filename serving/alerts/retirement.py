"""Forgets what was learnt of series that have been silent for long: users who are gone, operations that nobody calls.

Once in a day of the stream (UTC), before its first window is judged, every series without a value in the days before
goes, from memory and from the tables. Who comes back after that begins anew, as a new user does. As the days are those
of the windows, it does not matter how many windows a step has, nor when the engine was started again.
"""

from __future__ import annotations

import numpy as np

from serving.alerts.series_bank import Columns, SeriesBank

SILENCE_DAYS = 92
"""A quarter of a year: what came once a month is still known, and no baseline older than that is believed."""


def stay(bank: SeriesBank, start_s: float, silence_days: int) -> Columns | None:
    """Numbers of the series that stay at the window that starts then; None where all do, or its day has begun before.

    Series that never had a value do not stay: those that others need are made again.
    """
    if not bank.is_first_of_day(start_s):
        return None
    silent = bank.silent(start_s, silence_days)
    return np.flatnonzero(bank.begun() & ~silent) if silent.any() else None
