"""The table of anomalies: written inside the engine's transaction, read by the API."""

from __future__ import annotations

import json
from decimal import Decimal

from features.database import Connection, Location, Readers
from serving.alerts.anomaly import Anomaly

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
    "CREATE TABLE IF NOT EXISTS detectors (series TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID",
)
VERDICTS = ("useful", "expected", "wrong")


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
        return [_parse(*row) for row in self._readers.get().execute(query, (*values, limit)).fetchall()]

    def feedback(self, anomaly_id: str, verdict: str) -> bool:
        """Keep a verdict, False when there is no such anomaly; raises ValueError for one that is not in `VERDICTS`."""
        if verdict not in VERDICTS:
            raise ValueError(f"verdict {verdict!r} is unknown; one of {', '.join(VERDICTS)}")
        update = "UPDATE anomalies SET verdict = ? WHERE id = ?"
        return self._readers.get().execute(update, (verdict, anomaly_id)).rowcount == 1


def create(connection: Connection) -> None:
    """Make the tables where they are missing."""
    for table in TABLES:
        connection.execute(table)


def write(connection: Connection, anomaly: Anomaly) -> None:
    """Insert or bring up to date, inside the caller's transaction; a verdict given meanwhile stays."""
    document = {
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
    }
    connection.execute(
        "INSERT INTO anomalies (id, user_id, operation_id, started_ns, ended_ns, document) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO UPDATE SET ended_ns = excluded.ended_ns, document = excluded.document",
        (anomaly.id, anomaly.user, anomaly.operation, anomaly.started_ns, anomaly.ended_ns, json.dumps(document)),
    )


def read_open(connection: Connection) -> list[Anomaly]:
    """Anomalies that have not ended."""
    rows = connection.execute("SELECT document, verdict FROM anomalies WHERE ended_ns IS NULL").fetchall()
    return [_parse(*row) for row in rows]


def _parse(text: str, verdict: str) -> Anomaly:
    document = json.loads(text)
    low, middle, high = document.pop("expected")
    cost = document.pop("cost")
    excess = {(micro, resource): value for micro, resource, value in document.pop("excess")}
    amount = Decimal(cost) if cost is not None else None
    return Anomaly(**document, expected=(low, middle, high), cost=amount, excess=excess, verdict=verdict)
