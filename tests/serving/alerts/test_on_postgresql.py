"""Detection on PostgreSQL keeps what it keeps on SQLite."""

from __future__ import annotations

import sqlite3

from features.database import connect
from serving.alerts.hook import DetectionHook
from serving.alerts.store import AnomalyStore
from tests.postgresql import Server
from tests.serving.alerts.test_hook import found, price, run, usual

SECONDS = [*usual(40), *[(9_000.0, 40.0, 10.0)] * 3]


def test_the_same_episodes_are_found_and_judged(postgresql_server: Server) -> None:
    """A storm opens one episode with the same cost; a verdict acts, and a restart goes on."""
    location = postgresql_server.database()
    server, file = connect(location), sqlite3.connect(":memory:", isolation_level=None)
    run(SECONDS, DetectionHook(1, price=price), server)
    run(SECONDS, DetectionHook(1, price=price), file)
    assert found(server) == found(file)
    store = AnomalyStore(location)
    assert store.feedback(found(server)[0].id, "planned")
    assert len(store.planned()) == 1
    run([*SECONDS, (9_000.0, 40.0, 10.0)], DetectionHook(1, price=price), server)
    assert store.list()[0].verdict == "planned"
