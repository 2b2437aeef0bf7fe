"""Planned events and verdicts: stored, and used by the detectors."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.alerts import calendar
from serving.alerts.calendar import planned
from serving.alerts.hook import DetectionHook
from serving.alerts.store import AnomalyStore, read_open
from tests.serving.alerts.test_hook import SECOND, found, price, run, usual

STORM = [(9_000.0, 5.0, 10.0)] * 3


def ns(*moment: int) -> int:
    """A time in UTC."""
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * SECOND


def test_nothing_is_told_of_what_was_planned() -> None:
    """In a planned time the same storm opens no episode; of another operation it would."""
    for operation, count in (("checkout", 0), ("*", 0), ("report", 1)):
        connection, hook = sqlite3.connect(":memory:"), DetectionHook(1, price=price)
        run(usual(40), hook, connection)
        calendar.add(connection, planned("*", operation, 1_000 * SECOND, 2_000 * SECOND))
        run([*usual(40), *STORM], hook, connection)
        assert len(found(connection)) == count


def test_repeated_events_cover_their_repetitions() -> None:
    """Daily, weekly and monthly; a monthly one at the end of a month follows the end."""
    daily = planned("ada", "*", ns(2026, 1, 30, 22), ns(2026, 1, 31, 2), "daily")
    assert daily.covers("ada", "pay", ns(2026, 2, 5, 23))
    assert daily.covers("ada", "pay", ns(2026, 2, 6, 1))
    assert not daily.covers("ada", "pay", ns(2026, 2, 6, 3))
    assert not daily.covers("ben", "pay", ns(2026, 2, 5, 23))
    assert not daily.covers("ada", "pay", ns(2026, 1, 29, 23))
    monthly = planned("*", "batch", ns(2026, 1, 31, 20), ns(2026, 2, 1, 4), "monthly")
    assert monthly.covers("ada", "batch", ns(2026, 2, 28, 21))
    assert monthly.covers("ada", "batch", ns(2026, 3, 1, 3))
    assert not monthly.covers("ada", "batch", ns(2026, 3, 3, 21))
    first = planned("*", "batch", ns(2026, 1, 1, 0), ns(2026, 1, 1, 6), "monthly")
    assert first.covers("ada", "batch", ns(2026, 3, 1, 5))
    assert not first.covers("ada", "batch", ns(2026, 3, 31, 5))


@pytest.mark.parametrize(
    ("end", "repeats", "said"),
    [(0, "", "later end"), (10, "hourly", "is unknown"), (2 * 86_400 * SECOND, "daily", "shorten")],
)
def test_an_event_that_makes_no_sense_is_refused(end: int, repeats: str, said: str) -> None:
    """The error says what to do."""
    with pytest.raises(ValueError, match=said):
        planned("ada", "*", 1, end, repeats)


@pytest.mark.parametrize(("verdict", "factor"), [("wrong", 1.5), ("expected", 3.0), ("useful", None)])
def test_verdicts_raise_the_bar(tmp_path: Path, verdict: str, factor: float | None) -> None:
    """Wrong for good, expected for a week; useful changes nothing. Twice the same click counts once."""
    store = AnomalyStore(tmp_path / "metercast.db")
    connection = sqlite3.connect(tmp_path / "metercast.db", isolation_level=None)
    run([*usual(40), *STORM], DetectionHook(1, price=price), connection)
    anomaly = found(connection)[0]
    assert store.feedback(anomaly.id, verdict)
    assert store.feedback(anomaly.id, verdict)
    now_ns = ns(2026, 1, 1)
    expected = {} if factor is None else {("*", "checkout"): factor}
    assert calendar.bars(connection, now_ns) == expected
    if verdict == "expected":
        assert calendar.bars(connection, ns(2126, 1, 1)) == {}


def test_a_verdict_of_planned_enters_the_calendar(tmp_path: Path) -> None:
    """What was said to be planned covers its time from then on."""
    store = AnomalyStore(tmp_path / "metercast.db")
    connection = sqlite3.connect(tmp_path / "metercast.db", isolation_level=None)
    run([*usual(40), *STORM], DetectionHook(1, price=price), connection)
    anomaly = read_open(connection)[0]
    assert store.feedback(anomaly.id, "planned")
    assert store.planned()[0].covers(anomaly.user, anomaly.operation, anomaly.started_ns)
    assert store.unplan(store.planned()[0].id)
    assert store.planned() == []
