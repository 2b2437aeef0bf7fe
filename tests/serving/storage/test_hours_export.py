"""Hours leave as Parquet, a file a month, sorted by user and time, and are replaced by what they were revised to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from features.sqlite_log import SqliteEventLog
from serving.commands.log import main
from serving.commands.retract import main as retract_main
from serving.storage.history import History
from serving.storage.hours_export import export_hours
from tests.features.events import batch, event
from tests.serving.engines import caught_up

DAY_S = 86_400.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Usage of two users in two months that are over."""
    log = SqliteEventLog(tmp_path / "metercast.db")
    for sequence, user in enumerate(("bob", "ada")):
        rows = [event(-3_600.0 * hour, user, cpuCycles=hour, executionTimeMs=0.1) for hour in range(800) if hour % 7]
        log.append([batch(rows, sequence)])
    _catch_up(tmp_path, log)
    log.close()
    return tmp_path


def _catch_up(directory: Path, log: SqliteEventLog) -> None:
    caught_up(log, directory / "metercast.db", (60, 3600))._store.close()


def _export(data: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["hours", "--out", str(data / "out"), "--data", str(data), "--json", *words])
    return code, json.loads(capsys.readouterr().out or "{}")


def test_files_hold_the_hours(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file a month, zstd, by user and time, with the same sums as the history; the log's offset is told."""
    code, answer = _export(data, capsys)
    assert code == 0
    paths = sorted((data / "out").iterdir())
    assert [path.name for path in paths] == [one["file"] for one in answer["files"]]
    assert len(paths) > 1
    hours = pl.concat([pl.read_parquet(path) for path in paths])
    kept = History(data / "metercast.db").windows(3600, 0, 2**62)
    assert_frame_equal(hours.select(kept.columns), kept, check_row_order=False)
    for path in paths:
        frame, found = pl.read_parquet(path), pq.ParquetFile(path)
        assert_frame_equal(frame, frame.sort("user_id", "window_start", maintain_order=True))
        assert found.metadata.row_group(0).column(0).compression == "ZSTD"
        assert found.schema_arrow.metadata[b"metercast.log_offset"] == b"2"
    month = paths[0].stem.removeprefix("hours-")
    assert [one["file"] for one in _export(data, capsys, "--month", month)[1]["files"]] == [paths[0].name]


def test_hours_are_read_by_duckdb_as_by_polars(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever has an SQL engine gets the same sums."""
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed; it comes with the extra 'bench'")
    _export(data, capsys)
    files = str(data / "out" / "hours-*.parquet")
    query = f"SELECT user_id, epoch_ns(window_start), events, cpu_cycles, execution_time_ms FROM '{files}'"
    columns = ["user_id", "window_start", "events", "cpu_cycles", "execution_time_ms"]
    by_polars = pl.read_parquet(files).with_columns(pl.col("window_start").cast(pl.Int64)).select(columns)
    assert sorted(duckdb.sql(query).fetchall()) == sorted(by_polars.iter_rows())


def test_revised_hours_replace_those_before(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What came late and what was taken back is in the files that are written next; nothing else lies beside them."""
    before = _export(data, capsys)[1]["files"]
    log = SqliteEventLog(data / "metercast.db")
    log.append([batch([event(-800 * 3_600.0, "cem", cpuCycles=3)], 9)])
    assert retract_main(["--user", "bob", "--data", str(data), "--reason", "a test"]) == 0
    _catch_up(data, log)
    log.close()
    after = _export(data, capsys)[1]["files"]
    assert sum(one["events"] for one in after) == sum(one["events"] for one in before) / 2 + 1
    hours = pl.read_parquet(data / "out" / "hours-*.parquet")
    assert hours["user_id"].unique().sort().to_list() == ["ada", "cem"]
    assert {path.name for path in (data / "out").iterdir()} == {one["file"] for one in after}


def test_a_failed_export_leaves_what_was_there(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be finished is not put in place, and no draft stays."""
    _export(data, capsys)
    contents = {path: path.read_bytes() for path in (data / "out").iterdir()}

    def stop(_file: str, _done: int, _users: int) -> None:
        raise OSError("disk full")

    connection = History(data / "metercast.db")._readers.get()
    with pytest.raises(OSError, match="disk full"):
        export_hours(connection, data / "out", told=stop)
    assert {path: path.read_bytes() for path in (data / "out").iterdir()} == contents


def test_odd_months_are_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The value and what is allowed."""
    with pytest.raises(SystemExit, match="2"):
        main(["hours", "--out", str(data / "out"), "--data", str(data), "--month", "may"])
    assert "write it as 2026-11" in capsys.readouterr().err
