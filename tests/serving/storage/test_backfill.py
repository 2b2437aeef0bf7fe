"""Usage of the past comes in from files, each counted once, and windows and hours are what a clean replay says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from features.database import Location
from features.log import open_log
from serving.access.pseudonyms import add_key
from serving.commands.backfill import main
from serving.commands.log import main as log_main
from serving.storage.history import History
from tests.features.events import NOW_S, batch, event
from tests.serving.storage.conftest import catch_up

_DAY_S = 86_400


@pytest.fixture
def place(home: tuple[Location, list[str]]) -> tuple[Location, list[str]]:
    """A database with a batch that the engine has read, and the options that name it."""
    location, words = home
    log = open_log(location)
    log.append([batch([event(-30.0, cpuCycles=5), event(-4 * 3600.0, cpuCycles=7)])])
    log.close()
    catch_up(location)
    return location, words


def _cycles(location: Location) -> int:
    return int(History(location).windows(3600, 0, 2**62)["cpu_cycles"].sum())


def _run(words: list[str], capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, Any, str]:
    code = main([*more, *words, "--json"])
    told = capsys.readouterr()
    return code, json.loads(told.out) if told.out else None, told.err


def _parquet(path: Path, cycles: list[int]) -> Path:
    """Events of a year ago and of the hour that was closed, one after the other."""
    stamps = [NOW_S - (400 * _DAY_S if row % 2 else 4 * 3600) for row in range(len(cycles))]
    pl.DataFrame(
        {
            "timestamp": pl.Series([round(stamp * 1e6) * 1_000 for stamp in stamps]).cast(pl.Datetime("ns", "UTC")),
            "user_id": "ada",
            "operation_id": "checkout",
            "micro_operation_type": "CPU_INSTRUCTION",
            "cpu_cycles": cycles,
        }
    ).write_parquet(path)
    return path


def test_a_file_counts_once_and_revises_hours(
    place: tuple[Location, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Events of a closed hour and of a year ago are added, once; replay finds no difference."""
    location, words = place
    path = _parquet(tmp_path / "late.parquet", [100, 200, 300])
    code, answer, _ = _run(words, capsys, str(path))
    assert code == 0
    assert answer["files"] == [{"file": "late.parquet", "events": 3, "accepted": 3, "duplicate": 0}]
    assert answer["batches_the_engine_has_to_read"] == 1
    catch_up(location)
    assert _cycles(location) == 612
    code, answer, _ = _run(words, capsys, str(path))
    assert (code, answer["files"][0]["duplicate"], answer["batches_the_engine_has_to_read"]) == (0, 3, 0)
    catch_up(location)
    assert _cycles(location) == 612
    assert log_main(["replay", *words]) == 0


def test_events_with_ids_count_once_in_whatever_file(
    place: tuple[Location, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An export that overlaps another, in another form, adds only what is new."""
    location, words = place
    events = [event(-3600.0, cpuCycles=number) | {"eventID": f"e{number}"} for number in (1, 10, 100)]
    (tmp_path / "first.ndjson").write_text("\n".join(json.dumps(one) for one in events[:2]))
    (tmp_path / "second.json").write_text(json.dumps(events))
    frame = pl.DataFrame([{"cpuCycles": one["resourceUsage"]["cpuCycles"]} | one for one in events])
    frame.drop("resourceUsage").write_csv(tmp_path / "third.csv")
    files = [str(tmp_path / name) for name in ("first.ndjson", "second.json", "third.csv")]
    code, answer, _ = _run(words, capsys, *files)
    assert code == 0
    assert [(one["accepted"], one["duplicate"]) for one in answer["files"]] == [(2, 0), (1, 2), (0, 3)]
    catch_up(location)
    assert _cycles(location) == 12 + 111


def test_a_file_with_a_bad_row_is_refused_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rows are named with what is wrong, and nothing of the file is taken in."""
    log = open_log(tmp_path / "metercast.db")
    words = ["--data", str(tmp_path)]
    good = event(-1.0, cpuCycles=1)
    for name, text, said in (
        ("bad.json", json.dumps([good, good | {"userID": "a|b"}]), r"row 1: .*must not contain '\|'"),
        ("times.json", json.dumps([good | {"timestamp": 1.0}]), r"row 0: timestamp 1\.000 is older than"),
        ("short.csv", "timestamp,user_id\n1.0,a\n", "lacks operation_id, micro_operation_type"),
        ("odd.json", "[{]", "cannot be read"),
        (
            "kind.csv",
            "timestamp,user_id,operation_id,micro_operation_type\n2026-01-01T00:00:00Z,a,b,CPU\n",
            "is unknown; one of",
        ),
    ):
        path = tmp_path / name
        path.write_text(text)
        code, _, error = _run(words, capsys, str(path))
        assert code == 1
        assert re.search(said, error), error
    assert _run(words, capsys, str(tmp_path / "missing.csv"))[0] == 1
    assert log.last_offset() == 0
    log.close()


def test_names_become_the_servers_pseudonyms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A server that keeps pseudonyms gets no names from a file: the keys are asked for, and used."""
    open_log(tmp_path / "metercast.db").close()
    words = ["--data", str(tmp_path)]
    path = _parquet(tmp_path / "late.parquet", [1])
    keys = tmp_path / "keys"
    add_key(keys)
    assert _run(words, capsys, str(path), "--pseudonym-keys", str(keys))[0] == 0
    log = open_log(tmp_path / "metercast.db")
    assert all(name.startswith("p_") for name in log.read(0, 9)[0].batch.rows["user_id"].to_pylist())
    log.close()
    code, _, error = _run(words, capsys, str(path))
    assert code == 2
    assert "--pseudonym-keys" in error
