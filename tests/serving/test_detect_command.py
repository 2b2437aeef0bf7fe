"""`metercast detect` on files as people have them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from serving.commands.detect import main

COUNT = 600


@pytest.fixture
def frame() -> pl.DataFrame:
    """Two series of five minutes each, the second with a jump."""
    random = np.random.default_rng(1)
    stamps = [datetime(2026, 1, 1) + timedelta(minutes=5 * index) for index in range(COUNT)]
    calm, jumpy = random.normal(10.0, 0.3, COUNT), random.normal(10.0, 0.3, COUNT)
    jumpy[500:510] = 60.0
    parts = [pl.DataFrame({"series": name, "timestamp": stamps, "value": v}) for name, v in (("a", calm), ("b", jumpy))]
    return pl.concat(parts)


def run(path: Path, out: Path, *more: str) -> pl.DataFrame:
    """The scores of a file."""
    assert main(["--data", str(path), "--out", str(out), *more]) == 0
    return pl.read_parquet(out)


def test_parquet_and_csv_give_the_same_scores(tmp_path: Path, frame: pl.DataFrame) -> None:
    """Rows come back in their order with a score and an alert each; the jump opens one."""
    frame.write_parquet(tmp_path / "data.parquet")
    frame.write_csv(tmp_path / "data.csv")
    scores = run(tmp_path / "data.parquet", tmp_path / "one.parquet")
    assert scores.equals(run(tmp_path / "data.csv", tmp_path / "two.parquet"))
    assert scores.select("series", "timestamp").equals(frame.select("series", "timestamp"))
    opened = scores.filter(pl.col("alert") >= 1)
    assert opened["series"].to_list() == ["b"]
    assert opened["timestamp"].to_list() == [frame["timestamp"][500]]


def test_one_series_needs_no_column_for_it(tmp_path: Path, frame: pl.DataFrame) -> None:
    """A time, under one of its usual names, and one column of numbers are enough."""
    one = frame.filter(pl.col("series") == "b").select(pl.col("timestamp").alias("time"), pl.col("value").alias("cost"))
    one.write_csv(tmp_path / "spend.csv")
    scores = run(tmp_path / "spend.csv", tmp_path / "out.parquet")
    assert scores["series"].unique().to_list() == ["spend"]
    assert (scores["alert"] >= 1).sum() == 1


def test_rows_out_of_order_are_scored_in_time_order(tmp_path: Path, frame: pl.DataFrame) -> None:
    """Shuffled rows get the scores that they get in order."""
    frame.write_parquet(tmp_path / "data.parquet")
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=3)
    shuffled.write_parquet(tmp_path / "shuffled.parquet")
    scores, again = (run(tmp_path / name, tmp_path / "out.parquet") for name in ("data.parquet", "shuffled.parquet"))
    assert again.sort("series", "timestamp").equals(scores.sort("series", "timestamp"))


def test_missing_values_are_passed_over(tmp_path: Path, frame: pl.DataFrame) -> None:
    """Nulls score 0 and change nothing after them."""
    gaps = frame.with_columns(value=pl.when(pl.int_range(pl.len()) % 7 == 3).then(None).otherwise(pl.col("value")))
    gaps.write_parquet(tmp_path / "gaps.parquet")
    scores = run(tmp_path / "gaps.parquet", tmp_path / "out.parquet")
    assert scores["score"].is_finite().all()
    assert scores.filter(pl.int_range(pl.len()) % 7 == 3)["score"].sum() == 0


def test_the_plot_draws_every_series_and_its_alerts(tmp_path: Path, frame: pl.DataFrame) -> None:
    """One page without scripts, with a mark for the alert and its time in words."""
    frame.write_parquet(tmp_path / "data.parquet")
    run(tmp_path / "data.parquet", tmp_path / "out.parquet", "--plot", str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<figure>") == 2
    assert page.count('class="mark"') == 1
    assert "alerts: 2026-01-02 17:40" in page
    assert "<script" not in page


SHAPES: dict[str, list[pl.Expr]] = {
    "seconds": [pl.col("timestamp").dt.epoch("s")],
    "milliseconds": [pl.col("timestamp").dt.epoch("ms")],
    "nanoseconds": [pl.col("timestamp").dt.epoch("ns")],
    "seconds as text": [pl.col("timestamp").dt.epoch("s").cast(pl.String)],
    "text with a zone": [pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00")],
    "a time zone": [pl.col("timestamp").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")],
    "capitals": [pl.col("timestamp").alias("Timestamp"), pl.col("value").alias("Value")],
    "numbers as text": [pl.col("timestamp"), pl.col("value").cast(pl.String)],
    "decimals": [pl.col("timestamp"), pl.col("value").cast(pl.Decimal(30, 15))],
}


@pytest.mark.parametrize("shape", list(SHAPES))
def test_times_and_values_in_other_shapes_are_the_same(tmp_path: Path, frame: pl.DataFrame, shape: str) -> None:
    """Whatever the unit, the zone, the type or the order of the columns: equal scores, in the order of the rows."""
    frame.write_parquet(tmp_path / "data.parquet")
    expected = run(tmp_path / "data.parquet", tmp_path / "out.parquet")
    other = frame.select(pl.col("value"), pl.col("series")).with_columns(frame.select(*SHAPES[shape]))
    other = other.drop("value") if "Value" in other.columns else other
    other.write_parquet(tmp_path / "other.parquet")
    scores = run(tmp_path / "other.parquet", tmp_path / "out.parquet")
    assert scores["score"].to_list() == pytest.approx(expected["score"].to_list(), rel=1e-6)
    assert scores["timestamp"].dt.epoch("s").to_list() == frame["timestamp"].dt.epoch("s").to_list()


def test_a_time_may_stand_there_twice(tmp_path: Path, frame: pl.DataFrame) -> None:
    """Each of its rows gets a score, and the jump opens an alert."""
    pl.concat([frame, frame]).write_csv(tmp_path / "data.csv")
    scores = run(tmp_path / "data.csv", tmp_path / "out.parquet")
    assert scores.height == 2 * frame.height
    opened = scores.filter(pl.col("alert") >= 1, pl.col("series") == "b")
    assert frame["timestamp"][500] in opened["timestamp"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"when": [1], "value": [1.0]}, "lacks timestamp"),
        ({"timestamp": [1], "a": [1.0], "b": [2.0]}, "lacks value"),
        ({"timestamp": ["soon"], "value": [1.0]}, "are no times"),
        ({"timestamp": [1, None], "value": [1.0, 2.0]}, "the first in row 2: None"),
        ({"timestamp": [1, 2], "value": ["1", "n/a"]}, "the first in row 2: 'n/a'"),
        ({"timestamp": [True], "value": [1.0]}, "timestamps are Boolean"),
        ({"timestamp;value": ["1;2"]}, "parted by ';'"),
        ({"timestamp": [], "value": []}, "has no rows"),
    ],
)
def test_a_table_that_is_none_is_told(
    tmp_path: Path, columns: dict[str, list], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing, and what there is."""
    pl.DataFrame(columns).write_parquet(tmp_path / "data.parquet")
    assert main(["--data", str(tmp_path / "data.parquet"), "--out", str(tmp_path / "out.parquet")]) == 2
    assert said in capsys.readouterr().err


def test_every_detector_runs_and_says_how_fast(
    tmp_path: Path, frame: pl.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    """--json tells rows, series, alerts and speed."""
    frame.write_parquet(tmp_path / "data.parquet")
    for detector in ("slow-drift", "gaussian"):
        run(tmp_path / "data.parquet", tmp_path / "out.parquet", "--detector", detector, "--json")
        figures = json.loads(capsys.readouterr().out)
        assert figures["rows"] == 2 * COUNT
        assert figures["rows_per_cpu_s"] > 0
