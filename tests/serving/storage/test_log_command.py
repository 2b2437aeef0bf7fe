"""`metercast log` finds what is damaged, missing or counted wrongly, and says nothing where all is well."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.sqlite_log import SqliteEventLog, connect
from features.window_rows import WindowRows
from serving.commands.log import main
from serving.storage.window_table import shard_of
from tests.features.events import batch, event
from tests.serving.engines import caught_up


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory whose engine has read two batches; the third sequence number is missing before the last."""
    log = SqliteEventLog(tmp_path / "metercast.db")
    log.append([batch([event(-30.0, cpuCycles=5)], 1), batch([event(-29.0, executionTimeMs=0.25)] * 2, 2)])
    log.append([batch([event(-20.0, user="bob")], 4)])
    caught_up(log, tmp_path / "metercast.db", (1, 10))
    log.close()
    return tmp_path


def _run(data: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code = main([*words, "--data", str(data), "--json"])
    return code, json.loads(capsys.readouterr().out or "{}")


def _execute(data: Path, statement: str) -> None:
    with sqlite3.connect(data / "metercast.db") as connection:
        connection.execute(statement)


def test_batches_are_listed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Offsets, producers and counts, after the offset asked for."""
    code, answer = _run(data, capsys, "list", "--after", "1")
    assert code == 0
    assert [(one["offset"], one["sequence"], one["events"]) for one in answer["batches"]] == [(2, 2, 2), (3, 4, 1)]


def test_a_sound_log_verifies_and_gaps_are_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A skipped sequence number is shown, as it was never acknowledged; it is no damage."""
    code, answer = _run(data, capsys, "verify")
    assert code == 0
    assert (answer["batches"], answer["events"], answer["corrupt"]) == (3, 4, [])
    assert [one["missing"] for one in answer["gaps"]] == [1]


@pytest.mark.parametrize("damage", ["body = zeroblob(length(body))", "digest = zeroblob(32)", "events = 7"])
def test_damage_is_found(data: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    """A torn body, another checksum or another count is named with its offset."""
    _execute(data, f"UPDATE log SET {damage} WHERE log_offset = 2")
    code, answer = _run(data, capsys, "verify")
    assert code == 3
    assert len(answer["corrupt"]) == 1
    assert "offset 2" in answer["corrupt"][0]


def test_windows_equal_a_replay(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the engine kept is what the log says."""
    assert _run(data, capsys, "replay") == (0, {"different_windows": 0, "differences": []})


@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_wrong_window_is_found(data: Path, capsys: pytest.CaptureFixture[str], change: str) -> None:
    """A window that was changed or is missing is shown with what it should be."""
    with connect(data / "metercast.db") as connection:
        query = "SELECT chunk_id, body FROM window_chunks WHERE window_s = 10 AND shard = ?"
        chunk, body = connection.execute(query, (shard_of("bob"),)).fetchone()
        rows = WindowRows.decode(body)
        more = replace(rows, counts=rows.counts + np.array([[0], [1], [0], [0], [0]]))
        rows = rows.take(slice(1, None)) if change == "missing" else more
        connection.execute("UPDATE window_chunks SET body = ? WHERE chunk_id = ?", (rows.encode(), chunk))
    code, answer = _run(data, capsys, "replay")
    assert code == 3
    assert answer["different_windows"] == 1
    assert answer["differences"][0]["events_replayed"] == "1"


def test_no_data_directory_is_misuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong directory is not taken for an empty log."""
    assert main(["verify", "--data", str(tmp_path / "none")]) == 2
    assert "no database" in capsys.readouterr().err
