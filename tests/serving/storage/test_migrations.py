"""Databases of earlier versions are brought up to date once, and those of later versions are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from features.database import Location, connect
from serving.api.app import create_app
from serving.commands.serve import main
from serving.storage.migrations import MIGRATIONS, Migration, SchemaVersionError, migrate

LATEST = MIGRATIONS[-1].version
NEXT = Migration(
    LATEST + 1, "names of budgets", ("ALTER TABLE budgets ADD COLUMN name TEXT", "UPDATE budgets SET name = user_id")
)


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """A new database."""
    if request.param == "sqlite":
        return tmp_path / "metercast.db"
    return str(request.getfixturevalue("postgresql_server").database())


def _budgets(location: Location, columns: str) -> list[Any]:
    connection = connect(location)
    try:
        return [tuple(row) for row in connection.execute(f"SELECT {columns} FROM budgets").fetchall()]
    finally:
        connection.close()


def _with_a_budget(location: Location) -> None:
    connection = connect(location)
    connection.execute("CREATE TABLE budgets (user_id TEXT PRIMARY KEY, amount TEXT NOT NULL)")
    connection.execute("INSERT INTO budgets VALUES (?, ?)", ("ada", "10.00"))
    connection.close()


def test_a_step_is_applied_once_and_keeps_what_was_there(location: Location) -> None:
    """Starting again changes nothing more."""
    _with_a_budget(location)
    assert migrate(location) == LATEST
    for _ in range(2):
        assert migrate(location, (*MIGRATIONS, NEXT)) == LATEST + 1
    assert _budgets(location, "user_id, amount, name") == [("ada", "10.00", "ada")]


def test_a_step_that_fails_leaves_the_version_before(location: Location) -> None:
    """Its first statement is taken back with the others."""
    _with_a_budget(location)
    broken = Migration(LATEST + 1, "broken", ("UPDATE budgets SET amount = '0'", "UPDATE no_such_table SET a = 1"))
    with pytest.raises(Exception, match="no_such_table"):
        migrate(location, (*MIGRATIONS, broken))
    assert _budgets(location, "amount") == [("10.00",)]
    assert migrate(location) == LATEST


def test_a_later_version_is_refused_at_the_start(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The server names both versions and what to do, and exits with 2."""
    settings.data.mkdir(parents=True, exist_ok=True)
    migrate(settings.database, (*MIGRATIONS, Migration(LATEST + 7, "from the future")))
    with pytest.raises(SchemaVersionError):
        create_app(settings)
    assert main(["--data", str(settings.data), "--plans", str(settings.plans), "--port", "0"]) == 2
    assert f"version {LATEST + 7}" in capsys.readouterr().err
