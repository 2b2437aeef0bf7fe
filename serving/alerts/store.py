"""The table of anomalies: written inside the engine's transaction, read by the API."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from features.database import Connection, Location, Readers
from serving.alerts import calendar, detector_store, unit_prices
from serving.alerts.anomaly import EVERYONE, Anomaly

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS anomalies (
        id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        started_ns INTEGER NOT NULL,
        ended_ns INTEGER,
        verdict TEXT NOT NULL DEFAULT '',
        document TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE IF NOT EXISTS anomaly_users (
        anomaly_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        amount REAL NOT NULL,
        PRIMARY KEY (anomaly_id, user_id)
    ) WITHOUT ROWID
    """,
    *detector_store.TABLES,
    *calendar.TABLES,
    unit_prices.TABLE,
)
VERDICTS = ("useful", "expected", "planned", "wrong")
"""What people say: expected raises the bar for a week, wrong for good, planned enters the calendar."""


class AnomalyStore:
    """Reads anomalies of a data directory's database, and keeps what people say about them."""

    def __init__(self, location: Location) -> None:
        """Open the database, making the tables where they are missing."""
        self._readers = Readers.of(location)
        create(self._readers.get())

    def list(
        self,
        user: str | None = None,
        operation: str | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
        limit: int = 100,
    ) -> list[Anomaly]:
        """Anomalies, latest first; a user sees those of everyone's operations as well."""
        where, values = ["1 = 1"], list[object]()
        if user is not None:
            where.append("user_id IN (?, '*')")
            values.append(user)
        for clause, value in (
            ("operation_id = ?", operation),
            ("started_ns >= ?", start_ns),
            ("started_ns < ?", end_ns),
        ):
            if value is not None:
                where.append(clause)
                values.append(value)
        query = f"SELECT document, verdict FROM anomalies WHERE {' AND '.join(where)} ORDER BY started_ns DESC LIMIT ?"  # noqa: S608
        return _parsed(self._readers.get(), self._readers.get().execute(query, (*values, limit)).fetchall())

    def feedback(self, anomaly_id: str, verdict: str) -> bool:
        """Keep a verdict, False when there is no such anomaly; raises ValueError for one that is not in `VERDICTS`."""
        if verdict not in VERDICTS:
            raise ValueError(f"verdict {verdict!r} is unknown; one of {', '.join(VERDICTS)}")
        connection = self._readers.get()
        connection.execute("BEGIN IMMEDIATE")
        try:
            found = connection.execute("SELECT verdict, document FROM anomalies WHERE id = ?", (anomaly_id,)).fetchone()
            if found is not None and found[0] != verdict:
                connection.execute("UPDATE anomalies SET verdict = ? WHERE id = ?", (verdict, anomaly_id))
                calendar.judge(connection, verdict, found[1], time.time_ns())
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        return found is not None

    def planned(self, user: str | None = None) -> Sequence[calendar.PlannedEvent]:
        """The calendar: events of one user and of everyone, or all."""
        return calendar.events(self._readers.get(), user)

    def plan(self, event: calendar.PlannedEvent) -> None:
        """Enter an event into the calendar."""
        calendar.add(self._readers.get(), event)

    def unplan(self, event_id: str) -> bool:
        """Take an event out of the calendar; False where there is none."""
        return calendar.remove(self._readers.get(), event_id)


def create(connection: Connection) -> None:
    """Make the tables where they are missing."""
    for table in TABLES:
        connection.execute(table)


def write(connection: Connection, anomaly: Anomaly) -> None:
    """Insert or bring up to date, inside the caller's transaction; a verdict given meanwhile stays."""
    text = json.dumps(_document(anomaly), ensure_ascii=False)
    connection.execute(
        "INSERT INTO anomalies (id, user_id, operation_id, started_ns, ended_ns, document) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id, operation_id = excluded.operation_id, "
        "ended_ns = excluded.ended_ns, document = excluded.document",
        (
            anomaly.id,
            anomaly.user,
            anomaly.operation,
            anomaly.started_ns,
            anomaly.ended_ns,
            text,
        ),
    )
    users = [(anomaly.id, name, amount) for (what, name), amount in anomaly.shares.items() if what == "user"]
    if users:
        # Not in the document: a person's name must be found, and erased, where persons are.
        connection.executemany(
            "INSERT INTO anomaly_users VALUES (?, ?, ?) "
            "ON CONFLICT (anomaly_id, user_id) DO UPDATE SET amount = excluded.amount",
            users,
        )


def _document(anomaly: Anomaly) -> dict[str, object]:
    return {
        "id": anomaly.id,
        "user": anomaly.user,
        "operation": anomaly.operation,
        "micro_operation_type": anomaly.micro_operation_type,
        "resource": anomaly.resource,
        "started_ns": anomaly.started_ns,
        "last_ns": anomaly.last_ns,
        "ended_ns": anomaly.ended_ns,
        "score": anomaly.score,
        "observed": anomaly.observed,
        "expected": anomaly.expected,
        "excess": [[*key, value] for key, value in anomaly.excess.items()],
        "cost": str(anomaly.cost) if anomaly.cost is not None else None,
        "currency": anomaly.currency,
        "kind": anomaly.kind,
        "view": anomaly.view,
        "usual": [[*key, value] for key, value in anomaly.usual.items()],
        "shares": [[*key, value] for key, value in anomaly.shares.items() if key[0] != "user"],
        "paged_ns": anomaly.paged_ns,
        "dearest_window": str(anomaly.dearest_window),
    }


def read_open(connection: Connection) -> list[Anomaly]:
    """Anomalies that have not ended."""
    rows = connection.execute("SELECT document, verdict FROM anomalies WHERE ended_ns IS NULL").fetchall()
    return _parsed(connection, rows)


def parse(text: str, verdict: str) -> Anomaly:
    """The anomaly of a row of the table: its document and its verdict."""
    document = json.loads(text)
    low, middle, high = document.pop("expected")
    cost = document.pop("cost")
    dearest = document.pop("dearest_window", cost or "0")  # episodes of older versions have none
    shares = {(what, name): value for what, name, value in document.pop("shares", [])}
    usual = {(micro, resource): value for micro, resource, value in document.pop("usual", [])}
    excess = {(micro, resource): value for micro, resource, value in document.pop("excess")}
    amount = Decimal(cost) if cost is not None else None
    return Anomaly(
        **document,
        expected=(low, middle, high),
        cost=amount,
        excess=excess,
        shares=shares,
        usual=usual,
        verdict=verdict,
        dearest_window=Decimal(dearest),
    )


def _parsed(connection: Connection, rows: Sequence[tuple[str, str]]) -> list[Anomaly]:
    """Anomalies of rows, those of everyone with the users they are made of."""
    found = [parse(*row) for row in rows]
    shared = [one.id for one in found if one.user == EVERYONE]
    places = ", ".join("?" * len(shared))
    query = f"SELECT anomaly_id, user_id, amount FROM anomaly_users WHERE anomaly_id IN ({places})"  # noqa: S608
    shares: dict[str, dict[tuple[str, str], float]] = {}
    for anomaly_id, user, amount in connection.execute(query, shared).fetchall() if shared else ():
        shares.setdefault(anomaly_id, {})[("user", user)] = amount
    return [replace(one, shares={**one.shares, **shares[one.id]}) if one.id in shares else one for one in found]
