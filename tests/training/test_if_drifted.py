"""`metercast train --if-drifted` trains where the champion got worse, and leaves it alone where it did not."""

from __future__ import annotations

import json
import math
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.sqlite_log import SqliteEventLog
from tests.features.events import batch, event
from tests.serving.engines import caught_up
from tests.training.directories import with_store
from training.commands.train import main as train

CONFIG = """
experiment: test
data: {window_s: 1, season: 6, windows: 120, horizon: 6}
models: [seasonal-naive]
backtest: {origins: 3}
promote: true
certainty: 0
"""
USERS = tuple(f"user{number}" for number in range(6))


def _usage(directory: Path, began_s: float, seconds: range, phase: float) -> None:
    """Seconds of a season of six, shifted by a phase, into the directory's log and windows."""
    random = np.random.default_rng(seconds.start)
    log = SqliteEventLog(directory / "metercast.db")
    events = []
    for second in seconds:
        for user in USERS:
            cycles = 1e6 * (1.5 + math.sin(math.pi * (second + phase) / 3)) + 5e4 * random.random()
            events.append(event(0.0, user, cpuCycles=round(cycles)) | {"timestamp": began_s + second})
    log.append([batch(events, epoch=seconds.start + 1)])
    caught_up(log, directory / "metercast.db")
    log.close()


@pytest.mark.parametrize(("phase", "trains"), [(0.0, False), (3.0, True)])
def test_training_starts_where_accuracy_fell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], phase: float, trains: bool
) -> None:
    """The season goes on as it was: nothing to do. It turns over: the champion is replaced."""
    (with_store(tmp_path) / "train.yaml").write_text(CONFIG)
    command = [str(tmp_path / "train.yaml"), "--data", str(tmp_path), "--json", "--if-drifted"]
    began_s = int(time.time()) // 6 * 6.0 - 300
    _usage(tmp_path, began_s, range(60), 0.0)
    assert train(command) == 0
    first = capsys.readouterr()
    assert "there is no champion" in first.err
    assert json.loads(first.out)["champion"]["version"] == "1"
    _usage(tmp_path, began_s, range(60, 63), 0.0)
    assert train(command) == 0
    assert json.loads(capsys.readouterr().out)["drift"]["drift"]["status"] == "waiting"
    # The season's phase moves on by as much each season: repeating the last one is wrong every time.
    for season in range(5):
        _usage(tmp_path, began_s, range(63 + 6 * season, 69 + 6 * season), phase * (season + 1))
    assert train(command) == 0
    second = capsys.readouterr()
    document = json.loads(second.out)
    assert document["trained"] is trains, second.err
    assert ("retraining is worth it" in second.err) is trains


def test_a_champion_of_other_windows_does_not_keep_a_training_from_starting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A demo's champion of seconds, steady as it may be, says nothing about the windows that are to be trained."""
    (with_store(tmp_path) / "train.yaml").write_text(CONFIG)
    (tmp_path / "longer.yaml").write_text(CONFIG.replace("season: 6", "season: 12"))
    _usage(tmp_path, int(time.time()) // 6 * 6.0 - 300, range(90), 0.0)
    rest = ["--data", str(tmp_path), "--json", "--if-drifted"]
    assert train([str(tmp_path / "train.yaml"), *rest]) == 0
    capsys.readouterr()
    assert train([str(tmp_path / "longer.yaml"), *rest]) == 0
    told = capsys.readouterr()
    assert (
        "forecasts windows of 1 s in seasons of 6, and what is to be trained windows of 1 s in seasons of 12"
        in told.err
    )
    assert json.loads(told.out)["trained"]


def test_drift_is_measured_on_the_table_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a platform: the table of series grows, and its later rows tell how the champion does."""
    (with_store(tmp_path) / "train.yaml").write_text(CONFIG)
    usage = tmp_path / "usage.parquet"
    command = [str(tmp_path / "train.yaml"), "--data", str(tmp_path), "--usage", str(usage), "--json", "--if-drifted"]
    for windows, trains in ((60, True), (90, False)):
        _table(windows).write_parquet(usage)
        assert train(command) == 0
        assert json.loads(capsys.readouterr().out)["trained"] is trains


def _table(windows: int) -> pl.DataFrame:
    random = np.random.default_rng(0)
    moments = pl.datetime_range(datetime(2026, 1, 1), datetime(2026, 1, 1, 1), "1s", eager=True)[:windows]
    seasons = [math.sin(math.pi * place / 3) for place in range(windows)]
    return pl.concat(
        pl.DataFrame({"timestamp": moments, "value": [2 + one + random.random() / 10 for one in seasons]}).with_columns(
            pl.lit(user).alias("series"), pl.lit(user).alias("tenant"), pl.lit("cpu_cycles").alias("resource")
        )
        for user in USERS
    )
