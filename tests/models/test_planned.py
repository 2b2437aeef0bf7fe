"""Planned events are known ahead to the series they concern, from when they were entered on and no earlier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.forecasters.lstm import LstmConfig, shape_for
from models.forecasters.lstm_data import examples
from models.panel import Panel
from models.planned import NEVER_NS, Event, Planned

HOUR = 3_600_000_000_000
SERIES = ("ada|render|CPU_INSTRUCTION|cpu", "ada|pay|CPU_INSTRUCTION|cpu", "ben|render|CPU_INSTRUCTION|cpu")
CUT = 48


def event(user: str, operation: str, start_h: float, end_h: float, entered_h: int, removed_ns: int = NEVER_NS) -> Event:
    """An event by hours."""
    return user, operation, round(start_h * HOUR), round(end_h * HOUR), entered_h * HOUR, removed_ns


def panel(*events: Event) -> Panel:
    """Sixty hours of three series."""
    values = np.random.default_rng(0).random((3, 60))
    return Panel(SERIES, ("ada", "ada", "ben"), ("cpu",) * 3, values, 0, HOUR, 12, Planned.of_events(events, SERIES))


def told(seen: Panel, cut: int = CUT) -> np.ndarray:
    """What the network is told of each window to come (series, horizon), from a cut."""
    shape = shape_for(panel(event("*", "*", 0, 1, 0)), 6, LstmConfig(hidden=8, context_seasons=2))
    return examples(seen, np.arange(3), np.full(3, cut), shape).seen.steps[..., -1].numpy()


def test_an_event_is_known_ahead_to_the_series_it_concerns() -> None:
    """By user and operation, either of which may be all; a window that is planned in part counts in part."""
    steps = told(panel(event("ada", "render", 49.5, 51, 40)))
    np.testing.assert_array_equal(steps[0], [0, 0.5, 1, 0, 0, 0])
    assert not steps[1:].any()
    assert (told(panel(event("*", "*", 50, 51, 40)))[:, 2] == 1).all()
    np.testing.assert_array_equal(told(panel(event("*", "pay", 50, 51, 40)))[:, 2], [0, 1, 0])


def test_nobody_sees_a_plan_before_it_was_entered() -> None:
    """Entries made after a cut may be anything: what is told from the cut stays as it is, cut off or not."""
    before = (event("ada", "*", 50, 52, 40), event("*", "render", 53, 54, CUT))
    expected = told(panel(*before))
    assert expected.any()
    random = np.random.default_rng(1)
    for _ in range(5):
        later = [
            event(user, "*", CUT + random.random() * 5, CUT + 6, CUT + 1 + int(random.integers(9)))
            for user in random.permutation(["ada", "ben", "*"])
        ]
        whole = panel(*before, *later)
        np.testing.assert_array_equal(told(whole), expected)
        np.testing.assert_array_equal(told(whole.until(CUT)), expected)


def test_an_event_taken_out_is_known_until_then() -> None:
    """A forecast made before an event was taken out knew of it; `until` does not tell that it will be."""
    cancelled = panel(event("ada", "*", 50, 52, 40, removed_ns=(CUT + 1) * HOUR))
    assert told(cancelled).any()
    assert not told(cancelled, CUT + 1).any()
    seen = cancelled.until(CUT).planned
    assert seen is not None
    assert (seen.removed_ns == NEVER_NS).all()


def test_series_keep_their_events_when_picked() -> None:
    """`select` picks the events' rows too, and events of other series are refused."""
    picked = panel(event("ben", "*", 50, 52, 40)).select(np.array([2, 0]))
    assert picked.planned is not None
    np.testing.assert_array_equal(picked.planned.applies, [[True, False]])
    with pytest.raises(ValueError, match="planned events of 2 series"):
        replace(panel(), planned=picked.planned)


def test_events_of_nobody_are_none() -> None:
    """A calendar that concerns no series here is as good as none."""
    assert Planned.of_events([event("eve", "*", 1, 2, 0)], SERIES) is None
