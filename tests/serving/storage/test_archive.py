"""Old batches move to Parquet and short windows go, and nothing is lost, counted twice or unreadable by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.contracts import Outcome
from features.sqlite_log import SqliteEventLog
from features.stored_rows import CorruptBatchError
from serving.commands.erase import main as erase_main
from serving.commands.log import main
from serving.storage.history import History
from tests.features.events import batch, event
from tests.serving.engines import caught_up


def _first() -> Any:
    return batch([event(-30.0, user="bob", cpuCycles=3), event(-31.0, user="ada", cpuCycles=4)], 1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two batches that the engine has read, and a third that it has not."""
    log = SqliteEventLog(tmp_path / "metercast.db")
    log.append([_first(), batch([event(-20.0, user="ada")], 2)])
    caught_up(log, tmp_path / "metercast.db", (1, 3600))
    log.append([batch([event(-10.0, user="ada")], 3)])
    log.close()
    return tmp_path


def _run(data: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main([*words, "--data", str(data), "--json"])
    return code, json.loads(capsys.readouterr().out or "{}")


def _compact(data: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    code, answer = _run(data, capsys, "compact", "--older-than-days", "0")
    assert code == 0
    return answer


def test_what_the_engine_has_read_moves(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Parts are plain Parquet, sorted by user and time; what the engine has yet to read stays in the log."""
    assert _compact(data, capsys)["archived_events"] == 3
    events = pl.read_parquet(data / "history" / "events-*.parquet")
    assert events["user_id"].to_list() == ["ada", "ada", "bob"]
    assert events["timestamp"].head(2).is_sorted()
    log = SqliteEventLog(data / "metercast.db")
    assert [one.batch.sequence for one in log.read(2, 10)] == [3]
    assert _compact(data, capsys)["archived_events"] == 0


def test_a_batch_sent_again_is_still_known(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A producer that comes back after weeks with an old batch is not billed twice."""
    _compact(data, capsys)
    log = SqliteEventLog(data / "metercast.db")
    assert [one.outcome for one in log.append([_first()])] == [Outcome.DUPLICATE]


def test_a_reader_behind_the_archive_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An engine without its state does not silently begin with half of the usage."""
    _compact(data, capsys)
    with pytest.raises(CorruptBatchError, match="archived"):
        SqliteEventLog(data / "metercast.db").read(0, 10)


def test_checks_read_the_archive(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verification and replay take in the parts, and find one that was changed."""
    part = _compact(data, capsys)["parts"][0]["file"]
    code, answer = _run(data, capsys, "verify")
    assert (code, answer["events"]) == (0, 4)
    assert _run(data, capsys, "replay") == (0, {"different_windows": 0, "differences": []})
    path = data / "history" / part
    path.write_bytes(path.read_bytes()[:-9] + b"different")
    code, answer = _run(data, capsys, "verify")
    assert code == 3
    assert part in answer["corrupt"][0]
    assert _run(data, capsys, "replay")[0] == 3


def test_erasing_reaches_the_archive(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A person's events leave the Parquet parts as well; what others used is left and sound."""
    _compact(data, capsys)
    assert erase_main(["--user", "bob", "--data", str(data)]) == 0
    events = pl.read_parquet(data / "history" / "events-*.parquet")
    assert events["user_id"].to_list() == ["ada", "ada"]
    assert _run(data, capsys, "verify")[0] == 0
    assert _run(data, capsys, "replay")[0] == 0


def test_a_file_left_by_a_crash_is_removed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A part that was written but never entered does not count its events twice."""
    (data / "history").mkdir()
    (data / "history" / "events-000000000001-000000000001.parquet").write_bytes(b"half")
    _compact(data, capsys)
    assert len(list((data / "history").iterdir())) == 1


def test_short_windows_go_and_hours_stay(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Dropped windows are not taken for lost ones, and hours keep every event."""
    log = SqliteEventLog(data / "metercast.db")
    log.append([batch([event(-86_400.0, user="cem"), event(-86_399.0, user="cem")], 4)])
    caught_up(log, data / "metercast.db", (1, 3600))
    code, answer = _run(data, capsys, "compact", "--windows-older-than-days", "0.5")
    assert (code, answer["dropped_windows"]) == (0, 2)
    history = History(data / "metercast.db")
    assert history.windows(1, 0, 2**62)["user_id"].unique().sort().to_list() == ["ada", "bob"]
    assert history.windows(3600, 0, 2**62)["events"].sum() == 6
    assert _run(data, capsys, "replay") == (0, {"different_windows": 0, "differences": []})
