"""What is erased is gone from log, windows and files; what belongs to others stays, and stays counted once."""

from __future__ import annotations

import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.contracts import Outcome
from features.sqlite_log import SqliteEventLog, connect
from serving.access.audit import AuditLog
from serving.access.keys import KeyStore
from serving.accounts.budgets import BudgetStore
from serving.alerts.hook import DetectionHook
from serving.commands.erase import main
from serving.commands.log import main as log_main
from serving.engine.store import ErasedError
from serving.storage.erasure import erase
from serving.storage.history import History
from serving.storage.tables import Tables
from tests.features.events import batch, event
from tests.serving.engines import caught_up, engine

PERSON = "person-4711@example.org"


def _mixed(sequence: int, at_s: float = -30.0) -> Any:
    run = {"meter": "executions", "units": 1.0, "cpuCycles": 5}
    return batch([event(at_s, user=PERSON, **run), event(at_s, user="globex", **run)], sequence)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two users' usage, read by the engine with its detectors; the person also has a budget and a key."""
    path = tmp_path / "metercast.db"
    log = SqliteEventLog(path)
    log.append([_mixed(1), batch([event(-20.0, user=PERSON)], 2), batch([event(-20.0, user="globex")], 3)])
    caught_up(log, path, (1, 10), hooks=[DetectionHook(1)])
    log.close()
    keys, audit, tables = KeyStore(path), AuditLog(path), Tables(path)
    keys.create("theirs", ["usage:read"], PERSON)
    audit.record("command line", "key.create", "k1", tenant=PERSON)
    BudgetStore(tables).put(PERSON, Decimal(10), "USD")
    for store in (keys, audit, tables):
        store.close()
    return tmp_path


def test_nothing_of_the_person_is_left(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a row, and not a byte of the name in the database's files or its journal."""
    assert main(["--user", PERSON, "--data", str(data), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["removed"]["events"] == 2
    places = ("windows", "detector_series", "budgets", "keys", "audit")
    assert [place for place in places if not answer["removed"][place]] == []
    assert not any(answer["remaining"].values())
    for file in data.iterdir():
        assert PERSON.encode() not in file.read_bytes(), file


def test_what_others_used_stays(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The other user's windows are as before, and equal to a replay of the log that is left."""
    before = History(data / "metercast.db").windows(10, 0, 2**62, user="globex")
    assert main(["--user", PERSON, "--data", str(data)]) == 0
    assert History(data / "metercast.db").windows(10, 0, 2**62).equals(before)
    assert log_main(["replay", "--data", str(data)]) == 0
    assert log_main(["verify", "--data", str(data)]) == 0


def test_a_batch_sent_again_brings_nothing_back(data: Path) -> None:
    """A producer that repeats a batch after the erasure gets the same answer as before it."""
    assert main(["--user", PERSON, "--data", str(data)]) == 0
    log = SqliteEventLog(data / "metercast.db")
    assert [one.outcome for one in log.append([_mixed(1)])] == [Outcome.DUPLICATE]
    assert [one.outcome for one in log.append([_mixed(1, -29.0)])] == [Outcome.CONFLICT]


def test_other_files_with_the_name_are_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model bundle that names the person's series is pointed at, with exit code 3."""
    (data / "models").mkdir()
    (data / "models" / "bundle.json").write_text(json.dumps({"series": [f"{PERSON}|op|CPU_INSTRUCTION|cpu_cycles"]}))
    assert main(["--user", PERSON, "--data", str(data), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["mentioned_in"] == ["models/bundle.json"]


def test_dry_run_changes_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What would be erased is counted, and is there afterwards."""
    assert main(["--user", PERSON, "--data", str(data), "--json", "--dry-run"]) == 3
    assert json.loads(capsys.readouterr().out)["remaining"]["events"] == 2
    assert not History(data / "metercast.db").windows(10, 0, 2**62, user=PERSON).is_empty()


def test_a_running_engine_forgets(tmp_path: Path) -> None:
    """An erasure in the midst of a step undoes that step; the next one makes hooks read their state again."""
    path, forgotten = tmp_path / "metercast.db", []

    class Hook:
        window_s = 1

        def closed(self, window_s: int, rows: Any, names: pl.DataFrame, connection: sqlite3.Connection) -> None:
            pass

        def write(self, connection: sqlite3.Connection) -> None:
            pass

        def rolled_back(self) -> None:
            forgotten.append(True)

    class ErasingLog(SqliteEventLog):
        """Someone erases between the engine's reading and its writing."""

        def read(self, after_offset: int, limit: int) -> list[Any]:
            found = super().read(after_offset, limit)
            if not forgotten:
                erase(connect(path), PERSON)
            return found

    log = ErasingLog(path)
    log.append([_mixed(1)])
    worker = engine(log, path, (1, 10), hooks=[Hook()])
    with pytest.raises(ErasedError):
        worker.advance()
    assert History(path).windows(1, 0, 2**62).is_empty()
    worker.advance()
    assert forgotten
    assert History(path).windows(1, 0, 2**62)["user_id"].to_list() == ["globex"]
