"""What people told the detectors: planned events, and series whose bar is raised."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from features.database import Connection
from serving.alerts.anomaly import EVERYONE, WHOLE

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS planned_events (
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        start_ns INTEGER NOT NULL,
        end_ns INTEGER NOT NULL,
        repeats TEXT NOT NULL DEFAULT '',
        note TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS raised_bars (
        user_id TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        factor REAL NOT NULL,
        until_ns INTEGER NOT NULL,
        PRIMARY KEY (user_id, operation_id)
    ) WITHOUT ROWID
    """,
)
DAY_NS = 86_400_000_000_000
REPEATS = {"": 0, "daily": DAY_NS, "weekly": 7 * DAY_NS}
"""How often an event comes again; monthly ones are told by the day of the month."""

MONTHLY = "monthly"
WRONG_FACTOR, EXPECTED_FACTOR = 1.5, 3.0
EXPECTED_NS = 7 * DAY_NS
FOREVER_NS = 2**62


@dataclass(frozen=True, slots=True)
class PlannedEvent:
    """A time in which more usage is expected: of a user's operation, either of which may be `*`."""

    id: str
    user: str
    operation: str
    start_ns: int
    end_ns: int
    repeats: str = ""
    note: str = ""

    def covers(self, user: str, operation: str, at_ns: int) -> bool:
        """Whether a window that starts then, of this user's operation, is within the event."""
        return self.user in (EVERYONE, user) and self.operation in (WHOLE, operation) and self.is_on(at_ns)

    def is_on(self, at_ns: int) -> bool:
        """Whether a window that starts then is within the event, or one of its repetitions."""
        if self.repeats == MONTHLY:
            return _is_in_month(self.start_ns, self.end_ns, at_ns)
        every = REPEATS[self.repeats]
        offset = (at_ns - self.start_ns) % every if every and at_ns >= self.start_ns else at_ns - self.start_ns
        return 0 <= offset < self.end_ns - self.start_ns


def planned(user: str, operation: str, start_ns: int, end_ns: int, repeats: str = "", note: str = "") -> PlannedEvent:
    """A new event; raises ValueError where it ends before it starts or repeats in an unknown way."""
    if end_ns <= start_ns:
        start, end = (datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat() for at_ns in (start_ns, end_ns))
        raise ValueError(f"the event ends at {end}, not after its start at {start}; give a later end")
    if repeats not in (*REPEATS, MONTHLY):
        known = ", ".join(repr(one) for one in (*REPEATS, MONTHLY))
        raise ValueError(f"repeats={repeats!r} is unknown; one of {known}")
    if REPEATS.get(repeats) and end_ns - start_ns > REPEATS[repeats]:
        raise ValueError(f"a {repeats} event cannot last {(end_ns - start_ns) / 3.6e12:g} h; shorten it")
    return PlannedEvent(uuid.uuid4().hex[:16], user, operation, start_ns, end_ns, repeats, note)


def create(connection: Connection) -> None:
    """Make the tables where they are missing."""
    for table in TABLES:
        connection.execute(table)


def events(connection: Connection, user: str | None = None) -> list[PlannedEvent]:
    """Planned events, those of one user and of everyone where a user is given."""
    where, values = ("WHERE user_id IN (?, '*')", (user,)) if user is not None else ("", ())
    query = "SELECT id, user_id, operation_id, start_ns, end_ns, repeats, note FROM planned_events"
    return [PlannedEvent(*row) for row in connection.execute(f"{query} {where} ORDER BY start_ns", values)]


def add(connection: Connection, event: PlannedEvent) -> None:
    """Keep an event."""
    values = (event.id, event.user, event.operation, event.start_ns, event.end_ns, event.repeats, event.note)
    connection.execute("INSERT INTO planned_events VALUES (?, ?, ?, ?, ?, ?, ?)", values)


def remove(connection: Connection, event_id: str) -> bool:
    """Forget an event; False where there is none."""
    return connection.execute("DELETE FROM planned_events WHERE id = ?", (event_id,)).rowcount == 1


def judge(connection: Connection, verdict: str, document: str, now_ns: int) -> None:
    """Act on a verdict: wrong raises the series' bar, expected does for a week, planned enters the calendar."""
    anomaly = json.loads(document)
    user, operation = anomaly["user"], anomaly["operation"]
    if verdict == "planned":
        end_ns = max(anomaly["ended_ns"] or now_ns, anomaly["started_ns"] + 1)
        add(connection, planned(user, operation, anomaly["started_ns"], end_ns, note="told by a verdict"))
    elif verdict in ("wrong", "expected"):
        found = connection.execute(
            "SELECT factor FROM raised_bars WHERE user_id = ? AND operation_id = ?", (user, operation)
        ).fetchone()
        before = found[0] if found else 1.0
        factor, until_ns = (
            (before * WRONG_FACTOR, FOREVER_NS)
            if verdict == "wrong"
            else (max(before, EXPECTED_FACTOR), now_ns + EXPECTED_NS)
        )
        connection.execute(
            "INSERT INTO raised_bars VALUES (?, ?, ?, ?) ON CONFLICT (user_id, operation_id) "
            "DO UPDATE SET factor = excluded.factor, until_ns = excluded.until_ns",
            (user, operation, factor, until_ns),
        )


def bars(connection: Connection, at_ns: int) -> dict[tuple[str, str], float]:
    """How many times the usual bar applies to (user, operation), where it is raised."""
    rows = connection.execute("SELECT user_id, operation_id, factor FROM raised_bars WHERE until_ns > ?", (at_ns,))
    return {(user, operation): factor for user, operation, factor in rows}


def _is_in_month(start_ns: int, end_ns: int, at_ns: int) -> bool:
    """Whether a time lies in this or the last month's repetition of an event.

    One in the second half of a month is counted from the month's end backwards: the last day is what such events mean,
    whatever the number of days.
    """
    from_end = datetime.fromtimestamp(start_ns // 1_000_000_000, UTC).day > 15
    anchor_ns = _month_ns(start_ns, 1 if from_end else 0)
    for month in (0, -1):
        began = _month_ns(at_ns, month + (1 if from_end else 0)) + start_ns - anchor_ns
        if at_ns >= start_ns and began <= at_ns < began + end_ns - start_ns:
            return True
    return False


def _month_ns(at_ns: int, ahead: int) -> int:
    """The beginning of the month of a time, or of so many months after."""
    moment = datetime.fromtimestamp(at_ns // 1_000_000_000, UTC)
    months = moment.year * 12 + moment.month - 1 + ahead
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
