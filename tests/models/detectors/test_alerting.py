"""Where alerts open, and what stays inside an episode."""

from __future__ import annotations

import numpy as np

from models.detectors.alerting import ESCALATION, QUIET_S, open_alerts

HOUR_S = 3_600.0


def alerts(severity: list[float], step_s: float = HOUR_S) -> list[float]:
    """Alerts of regular rows."""
    return open_alerts(np.array(severity), np.arange(len(severity)) * step_s).tolist()


def test_an_episode_opens_once() -> None:
    """Rows as severe as the one that opened the alert add nothing for half a day."""
    assert alerts([0, 2, 2.5, 2, 1.5, 2]) == [0, 2, 0, 0, 0, 0]


def test_it_opens_again_after_the_quiet_period() -> None:
    """The same severity is told again once the quiet period is over."""
    hours = int(QUIET_S // HOUR_S)
    assert alerts([2] * (hours + 2)) == [2, *[0] * hours, 2]


def test_an_episode_that_outgrows_itself_is_told_again() -> None:
    """Three times the severity of the alert before is news."""
    assert alerts([2, 2 * ESCALATION + 1, 2 * ESCALATION + 2]) == [2, 2 * ESCALATION + 1, 0]


def test_the_quiet_period_is_in_time_not_in_rows() -> None:
    """Rows a day apart each open their own alert."""
    assert alerts([2, 2, 2], step_s=24 * HOUR_S) == [2, 2, 2]


def test_rows_below_the_bar_do_not_silence_one_above_it() -> None:
    """A small surprise before a great one leaves the great one its alert."""
    assert alerts([0.8, 1.1])[1] == 1.1


def test_an_alert_in_doubt_is_told_again_once_it_is_confirmed() -> None:
    """A spike that only the scale finds opens; rarity within the quiet period is news, and then needs three times."""
    assert alerts([1.03, 1.04, 1.2, 1.3]) == [1.03, 0, 1.2, 0]
    assert alerts([1.08, 1.3]) == [1.08, 0]
