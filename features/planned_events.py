"""The calendar of planned events as a covariate: what was planned for whom, and from when to when that was known.

Entries are kept when an event is taken out of the calendar again, as forecasts made before knew of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from features.database import Connection, tables

TABLE = """
    CREATE TABLE IF NOT EXISTS planned_entries (
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        start_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        repeats TEXT NOT NULL,
        entered_ns INTEGER NOT NULL,
        removed_ns INTEGER NOT NULL
    ) WITHOUT ROWID
"""
NEVER_NS = 2**62
"""The time of removal of an event that still stands."""

DAY_NS = 86_400_000_000_000
REPEATS = {"": 0, "daily": DAY_NS, "weekly": 7 * DAY_NS}
"""How often an event comes again; monthly ones are told by the day of the month."""

MONTHLY = "monthly"
AHEAD_NS = 62 * DAY_NS
"""Repetitions are told so far beyond the windows known: two billing periods."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event of a user's operation, either of which may be `*`, and when it was entered and removed."""

    user: str
    operation: str
    start_ns: int
    end_ns: int
    repeats: str
    entered_ns: int
    removed_ns: int = NEVER_NS


def enter(connection: Connection, event_id: str, entry: Entry) -> None:
    """Keep that an event was entered."""
    values = (entry.user, entry.operation, entry.start_ns, entry.end_ns, entry.repeats)
    times = (entry.entered_ns, entry.removed_ns)
    connection.execute("INSERT INTO planned_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (event_id, *values, *times))


def close(connection: Connection, event_id: str, now_ns: int) -> None:
    """Keep that an event was taken out."""
    connection.execute("UPDATE planned_entries SET removed_ns = ? WHERE id = ?", (now_ns, event_id))


def entries(connection: Connection) -> list[Entry]:
    """All entries ever made, in the order of their start; none in a database of before there were any."""
    if "planned_entries" not in tables(connection):
        return []
    query = "SELECT user_id, operation_id, start_ns, end_ns, repeats, entered_ns, removed_ns FROM planned_entries"
    return [Entry(*row) for row in connection.execute(f"{query} ORDER BY start_ns, id")]


def planned_between(found: Sequence[Entry], from_ns: int, until_ns: int) -> list[tuple[str, str, int, int, int, int]]:
    """User, operation, start, end, and times of entry and removal of all repetitions, as models take them.

    They are told from ``from_ns`` to `AHEAD_NS` after ``until_ns``.
    """
    return [
        (entry.user, entry.operation, start_ns, end_ns, entry.entered_ns, entry.removed_ns)
        for entry in found
        for start_ns, end_ns in occurrences(entry, from_ns, until_ns + AHEAD_NS)
    ]


def occurrences(entry: Entry, from_ns: int, until_ns: int) -> Iterator[tuple[int, int]]:
    """Start and end of an event and its repetitions, of those that lie between two times at least in part.

    A monthly one in the second half of a month is counted from the month's end backwards: the last day is what such
    events mean, whatever the number of days.
    """
    length = entry.end_ns - entry.start_ns
    for start_ns in _starts(entry, from_ns - length, until_ns):
        if start_ns < until_ns and start_ns + length > from_ns:
            yield start_ns, start_ns + length


def _starts(entry: Entry, from_ns: int, until_ns: int) -> Iterator[int]:
    if entry.repeats == MONTHLY:
        late = 1 if datetime.fromtimestamp(entry.start_ns // 1_000_000_000, UTC).day > 15 else 0
        offset_ns, month = entry.start_ns - month_ns(entry.start_ns, late), 0
        first_ns = max(entry.start_ns, from_ns)
        while (start_ns := month_ns(first_ns, month - 1 + late) + offset_ns) < until_ns:
            if start_ns >= entry.start_ns:
                yield start_ns
            month += 1
    elif every := REPEATS[entry.repeats]:
        skipped = max(0, (from_ns - entry.start_ns) // every)
        yield from range(entry.start_ns + skipped * every, until_ns, every)
    else:
        yield entry.start_ns


def month_ns(at_ns: int, ahead: int) -> int:
    """The beginning of the month of a time, or of so many months after."""
    moment = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)
    months = moment.year * 12 + moment.month - 1 + ahead
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
