"""The calendar keeps when an event was entered and taken out, and tells its repetitions."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from features.planned_events import TABLE, Entry, close, enter, entries, occurrences, planned_between


def ns(*moment: int) -> int:
    """A time in UTC."""
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000_000


def test_an_entry_outlives_its_event() -> None:
    """What was taken out is kept with the time it was; a database of before there were entries has none."""
    connection = sqlite3.connect(":memory:")
    assert entries(connection) == []
    connection.execute(TABLE)
    entry = Entry("ada", "*", ns(2026, 1, 1), ns(2026, 1, 2), "", entered_ns=5)
    enter(connection, "one", entry)
    assert entries(connection) == [entry]
    close(connection, "one", 9)
    assert entries(connection)[0].removed_ns == 9


def test_repetitions_lie_between_two_times() -> None:
    """Daily from the first on, those that have begun before included; monthly by the month's end."""
    daily = Entry("ada", "*", ns(2026, 1, 30, 22), ns(2026, 1, 31, 2), "daily", 0)
    found = list(occurrences(daily, ns(2026, 2, 5), ns(2026, 2, 6, 23)))
    assert [start for start, _ in found] == [ns(2026, 2, 4, 22), ns(2026, 2, 5, 22), ns(2026, 2, 6, 22)]
    assert list(occurrences(daily, ns(2026, 1, 1), ns(2026, 1, 30))) == []
    monthly = Entry("*", "batch", ns(2026, 1, 31, 20), ns(2026, 2, 1, 4), "monthly", 0)
    starts = [start for start, _ in occurrences(monthly, ns(2026, 1, 1), ns(2026, 4, 1))]
    assert starts == [ns(2026, 1, 31, 20), ns(2026, 2, 28, 20), ns(2026, 3, 31, 20)]


def test_repetitions_reach_beyond_what_is_known() -> None:
    """Two billing periods ahead of the last window, each with when it was entered."""
    weekly = Entry("ada", "pay", ns(2026, 1, 1), ns(2026, 1, 2), "weekly", 7)
    told = planned_between([weekly], ns(2026, 1, 1), ns(2026, 1, 10))
    assert len(told) == 11
    assert {one[4] for one in told} == {7}
