"""Planned events and verdicts: stored, and used by the detectors."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from serving.alerts import calendar
from serving.alerts.calendar import planned
from serving.alerts.hook import DetectionHook
from serving.alerts.masks import Masks
from serving.alerts.store import AnomalyStore, create, read_open
from serving.alerts.watch_list import WatchList
from tests.serving.alerts.closed_windows import Feed
from tests.serving.alerts.test_hook import SECOND, found, price, run, usual, window

USERS = ("ada", "ben", "cem")

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


def windows(count: int, start: int, **network: float) -> list[pl.DataFrame]:
    """Seconds in which three users check out, some of them with more network a run than the usual kilobyte."""
    frames = []
    for at in range(start, start + count):
        parts = [window(at, network.get(user, 1_000 + at % 5), 5.0) for user in USERS]
        named = [part.with_columns(user_id=pl.lit(user)) for part, user in zip(parts, USERS, strict=True)]
        frames.append(pl.concat(named))
    return frames


@pytest.mark.parametrize(("others", "told"), [({}, set()), ({"cem": 9_000.0}, {"cem"})])
def test_what_is_planned_for_one_is_quiet_above_too(others: dict[str, float], told: set[str]) -> None:
    """The campaign of one customer is no anomaly of all; the storm of another in that time is told."""
    connection, hook, feed = sqlite3.connect(":memory:"), DetectionHook(1, price=price), Feed()
    create(connection)
    calendar.add(connection, planned("ben", "checkout", 1_100 * SECOND, 1_200 * SECOND))
    for frame in [*windows(100, 1_000), *windows(5, 1_100, ben=9_000.0, **others), *windows(2, 1_105)]:
        feed.close(hook, frame, connection)
    assert {one.user for one in read_open(connection)} == told


def test_what_was_planned_does_not_become_usual() -> None:
    """Usage of planned time is not learnt: the same again, unplanned, is told as if it were the first time."""
    scores = []
    for campaign in (0, 20):
        connection, hook, feed = sqlite3.connect(":memory:"), DetectionHook(1, price=price), Feed()
        create(connection)
        calendar.add(connection, planned("*", "checkout", 1_100 * SECOND, 1_120 * SECOND))
        for frame in [*windows(100, 1_000), *windows(campaign, 1_100, ben=9_000.0), *windows(3, 1_130, ben=9_000.0)]:
            feed.close(hook, frame, connection)
        scores += [(one.user, one.score) for one in read_open(connection)]
    assert [user for user, _ in scores] == ["ben", "ben"]
    assert scores[0] == scores[1]


def test_wrong_of_all_customers_holds_for_each() -> None:
    """A verdict on an operation of everyone raises the bar of each of its users; of other operations it does not."""
    masks = Masks(WatchList(None), bars={("*", "checkout"): 1.5, ("ada", "pay"): 3.0})
    assert [masks.bar("ada", "checkout"), masks.bar("ada", "pay"), masks.bar("ben", "pay")] == [1.5, 3.0, 1.0]


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
    [(0, "", "later end"), (10, "hourly", "is unknown"), (calendar.DAY_NS * 2, "daily", "shorten")],
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
