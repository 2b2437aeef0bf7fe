"""An audit shows a user's raw events, whether archived or not, and finds windows that do not add up to them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.database import connect
from features.sqlite_log import SqliteEventLog
from features.window_rows import WindowRows
from features.windows import RESOURCES
from serving.accounts.periods import month_ns
from serving.commands.audit import main
from serving.commands.log import main as log_main
from serving.storage.history import History
from serving.storage.window_table import shard_of
from tests.features.events import NOW_S, batch, event
from tests.serving.engines import caught_up

USED = {"cpuCycles": 7, "executionTimeMs": 0.125, "units": 2.0, "meter": "executions"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two batches in the archive and one in the log, of two users; the last of this month's events are of now."""
    log = SqliteEventLog(tmp_path / "metercast.db")
    for sequence in (1, 2):
        log.append([batch([event(-30.0 - sequence, user=user, **USED) for user in ("ada", "bob")], sequence)])
    caught_up(log, tmp_path / "metercast.db", (1, 3600))
    assert log_main(["compact", "--older-than-days", "0", "--data", str(tmp_path), "--json"]) == 0
    log.append([batch([event(-20.0, user="ada", **USED)], 3)])
    caught_up(log, tmp_path / "metercast.db", (1, 3600))
    log.close()
    return tmp_path


def _run(data: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main([*words, "--data", str(data), "--json"])
    return code, json.loads(capsys.readouterr().out or "{}")


def test_windows_add_up_to_the_raw_events(data: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Events of archive and log are all there, theirs only, and can be written out to be rated again."""
    out = tmp_path / "ada.parquet"
    code, answer = _run(data, capsys, "--user", "ada", "--out", str(out))
    assert (code, answer["events"], answer["different_windows"]) == (0, 3, 0)
    assert answer["totals"][0]["cpu_cycles"] == 21
    events = pl.read_parquet(out)
    assert events["user_id"].unique().to_list() == ["ada"]
    assert events["timestamp"].is_sorted()
    start_ns, end_ns = month_ns(int(NOW_S * 1e9))
    kept = History(data / "metercast.db").totals(3600, start_ns, end_ns, "ada")
    assert [kept[name].sum() for name in RESOURCES] == [events[name].sum() for name in RESOURCES]


def test_a_window_that_was_changed_is_found(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Usage that no event stands behind is shown beside what the events say, with exit code 3."""
    connection = connect(data / "metercast.db")
    query = "SELECT chunk_id, body FROM window_chunks WHERE window_s = 1 AND shard = ?"
    for chunk, body in connection.execute(query, (shard_of("bob"),)).fetchall():
        rows = WindowRows.decode(body)
        more = replace(rows, counts=rows.counts + 1)
        connection.execute("UPDATE window_chunks SET body = ? WHERE chunk_id = ?", (more.encode(), chunk))
    code, answer = _run(data, capsys, "--user", "bob", "--window-s", "1")
    assert code == 3
    assert answer["different_windows"] == 2
    assert {(row["cpu_cycles"], row["cpu_cycles_raw"]) for row in answer["differences"]} == {(8, 7)}


def test_parts_are_read_by_duckdb_as_by_polars(data: Path) -> None:
    """Whoever has an SQL engine can audit without this program."""
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed; it comes with the extra 'bench'")
    files = str(data / "history" / "events-*.parquet")
    query = f"SELECT user_id, epoch_ns(timestamp), cpu_cycles, execution_time_ms, execution_id FROM '{files}'"
    by_polars = pl.read_parquet(files).with_columns(pl.col("timestamp").cast(pl.Int64))
    columns = ["user_id", "timestamp", "cpu_cycles", "execution_time_ms", "execution_id"]
    assert sorted(duckdb.sql(query).fetchall()) == sorted(by_polars.select(columns).iter_rows())


@pytest.mark.parametrize(
    ("words", "message"), [(["--month", "may"], "2026-11"), (["--window-s", "7000"], "no edge of a window")]
)
def test_odd_spans_are_refused(data: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    """The value and what is allowed are told, with exit code 2."""
    assert main(["--user", "ada", "--data", str(data), *words]) == 2
    assert message in capsys.readouterr().err
