"""Tasks as others write them: units, time zones, orders and words that `metercast backtest` must read or refuse."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.panel import Panel
from training.fit import fit_forecaster
from training.task_run import run_task
from training.tasks import TaskError, load_task

START = datetime(2026, 3, 28, tzinfo=UTC)
"""The clocks of Berlin go forward on the day after."""

ORIGINS = [(START + timedelta(days=day)).isoformat() for day in (2, 3)]


def _table(**more: pl.Expr) -> pl.DataFrame:
    """Two hourly series of four days whose value is the hour."""
    rows = [(f"s{one}", "t", "cpu", START + timedelta(hours=hour), float(hour)) for one in (0, 1) for hour in range(96)]
    columns = ["series", "tenant", "resource", "timestamp", "value"]
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(**more)


def _put(directory: Path, frame: pl.DataFrame, ending: str = ".parquet", **manifest: Any) -> Path:
    path = directory / f"T{ending}"
    (frame.write_parquet if ending == ".parquet" else frame.write_csv)(path)
    asked = {"window": "1h", "season": 24, "horizon": 24, "origins": ORIGINS, **manifest}
    path.with_suffix(".json").write_text(json.dumps(asked))
    return path


@pytest.mark.parametrize(
    ("frame", "ending"),
    [
        (_table(timestamp=pl.col("timestamp").dt.convert_time_zone("Europe/Berlin")), ".parquet"),
        (_table(timestamp=pl.col("timestamp").dt.replace_time_zone(None).dt.cast_time_unit("ms")), ".parquet"),
        (_table(timestamp=pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ")), ".parquet"),
        (_table(timestamp=pl.col("timestamp").dt.strftime("%Y-%m-%d %H:%M:%S")), ".csv"),
        (_table(value=pl.col("value").cast(pl.Int32), series=pl.col("series").cast(pl.Categorical)), ".parquet"),
        (_table().sample(fraction=1.0, shuffle=True, seed=3), ".parquet"),
    ],
    ids=["berlin", "naive", "text", "csv", "kinds", "shuffled"],
)
def test_every_way_to_write_it_is_the_same_task(tmp_path: Path, frame: pl.DataFrame, ending: str) -> None:
    """Time zones, units of time, text, whole numbers and the order of rows change nothing."""
    task = load_task(_put(tmp_path, frame, ending))
    assert task.cuts == (48, 72)
    np.testing.assert_array_equal(task.panel.values, np.tile(np.arange(96.0), (2, 1)))
    assert task.panel.time_of(0) == START


@pytest.mark.parametrize("window", ["1h", "H", "60min", "60T", "3600 s", "1H"])
def test_a_window_is_read_in_the_units_of_common_libraries(tmp_path: Path, window: str) -> None:
    """An hour has many names."""
    assert load_task(_put(tmp_path, _table(), window=window)).panel.window_ns == 3_600_000_000_000


def test_days_may_be_dates(tmp_path: Path) -> None:
    """A table by the day with dates, weeks as the season, and a subset of the quantiles in any order."""
    frame = _table().group_by("series", "tenant", "resource", pl.col("timestamp").dt.date()).agg(pl.col("value").sum())
    task = load_task(_put(tmp_path, frame, window="D", season=1, horizon=1.0, quantiles=[0.5, 0.1, 0.9]))
    assert task.panel.values.shape == (2, 4)
    assert (task.cuts, task.horizon) == ((2, 3), 1)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"window": "1M"}, "'1M' is no length of time"),
        ({"window": 3600}, "3600 is no length of time"),
        ({"season": 0}, "season is 0; it is a whole number of windows from 1 on (1 where nothing repeats)"),
        ({"season": None}, "season is None"),
        ({"horizon": 1.5}, "horizon is 1.5"),
        ({"origins": []}, "a list of moments"),
        ({"origins": ["soon"]}, "write origins as"),
        ({"origins": [ORIGINS[0], ORIGINS[0]]}, "each named once"),
        ({"origins": ["2026-03-30T00:30:00Z"]}, "is no window between"),
        ({"quantiles": [0.05, 0.5]}, "but forecasts have"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_told(tmp_path: Path, manifest: dict[str, Any], message: str) -> None:
    """The key, the value seen, and what is allowed."""
    with pytest.raises(TaskError) as told:
        load_task(_put(tmp_path, _table(), **manifest))
    assert message in str(told.value)
    assert "T.json" in str(told.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_table(value=pl.when(pl.col("value") == 5).then(float("inf")).otherwise("value")), "2 values are infinite"),
        (_table(series=pl.when(pl.col("value") > 5).then("series")), "12 rows have no series or no timestamp"),
        (_table(timestamp=pl.lit("yesterday")), "cannot be read; write 2026"),
        (_table().drop("tenant"), "lacks tenant"),
    ],
    ids=["infinite", "nameless", "text", "tenant"],
)
def test_a_table_that_makes_no_sense_is_told(tmp_path: Path, frame: pl.DataFrame, message: str) -> None:
    """How much is wrong, in which file, and what is allowed."""
    with pytest.raises(TaskError, match=message) as told:
        load_task(_put(tmp_path, frame))
    assert str(told.value).count("T.parquet") == 1


def test_origins_in_any_order_show_nothing_of_the_future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained ends before the earliest origin, wherever that stands in the list."""
    seen: list[int] = []

    def fitted(name: str, panel: Panel, *rest: Any, **more: Any) -> Any:
        seen.append(panel.windows)
        return fit_forecaster(name, panel, *rest, **more)

    monkeypatch.setattr("training.task_run.fit_forecaster", fitted)
    task = load_task(_put(tmp_path, _table(), origins=ORIGINS[::-1]))
    run_task(task, "seasonal-naive", tmp_path / "out", workers=1)
    assert (task.cuts, seen) == ((72, 48), [48])
