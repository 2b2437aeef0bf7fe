"""A platform's database of either kind, and the engine brought up to its log."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.database import Location
from features.log import open_log
from tests.postgresql import Server
from tests.serving.engines import caught_up


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Location, list[str]]:
    """An empty database of each kind, and the options of commands that name it."""
    if request.param == "sqlite":
        return tmp_path / "metercast.db", ["--data", str(tmp_path)]
    server: Server = request.getfixturevalue("postgresql_server")
    location = server.database()
    return location, ["--data", str(tmp_path), "--database-url", location]


def catch_up(location: Location) -> None:
    """Let an engine read all that is in the log, and stop."""
    log = open_log(location)
    worker = caught_up(log, location, (10, 3600))
    worker._store.close()
    log.close()
