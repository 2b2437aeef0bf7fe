"""`metercast backtest` on a task of its own: processes, resuming, and the run in MLflow."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from mlflow import MlflowClient

from models.forecasters.seasonal_naive import SeasonalNaive
from tests.training.directories import with_store
from training import task_run
from training.commands.backtest import main as backtest
from training.tracking import Tracking

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """Three hourly series of five days, and four origins a day apart."""
    random = np.random.default_rng(8)
    rows = [
        (f"s{one}", "ada", "cpu", START + timedelta(hours=hour), 10.0 + 5 * np.sin(hour * np.pi / 12) + random.random())
        for one in range(3)
        for hour in range(120)
    ]
    schema = ["series", "tenant", "resource", "timestamp", "value"]
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(tmp_path / "T.parquet")
    origins = [(START + timedelta(days=day)).isoformat() for day in (1, 2, 3, 4)]
    manifest = {"window": "1h", "season": 24, "horizon": 24, "origins": origins}
    (tmp_path / "T.json").write_text(json.dumps(manifest))
    return tmp_path / "T.parquet"


def _forecasts(out: Path) -> pl.DataFrame:
    return pl.read_parquet(out / "seasonal-naive" / "forecasts.parquet")


def test_processes_change_nothing(task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Origins forecast side by side are those forecast one by one; what a backtest did is logged where asked for."""
    with_store(tmp_path / "data")
    for out, more in (("one", ["--workers", "1"]), ("two", ["--workers", "2", "--data", str(tmp_path / "data")])):
        command = ["--task", str(task), "--model", "seasonal-naive", "--out", str(tmp_path / out), "--json", *more]
        assert backtest(command) == 0
    document = json.loads(capsys.readouterr().out.split("\n}\n")[1] + "\n}")
    assert _forecasts(tmp_path / "one").equals(_forecasts(tmp_path / "two"))
    assert not (tmp_path / "two" / "seasonal-naive" / ".partial").exists()
    assert len(document["models"][0]["by_origin"]) == 4
    client = MlflowClient(Tracking(tmp_path / "data").uri)
    experiment = client.get_experiment_by_name("backtest")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id])[0]
    assert (run.data.tags["task"], run.data.params["model"]) == ("T", "seasonal-naive")
    assert run.data.metrics["wql"] == pytest.approx(document["models"][0]["wql"], abs=1e-6)
    assert len(client.get_metric_history(run.info.run_id, "origin_wql")) == 4
    assert len(client.get_metric_history(run.info.run_id, "horizon_wql")) == 24


def test_a_backtest_that_was_stopped_goes_on(
    task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C loses neither the training nor the origins that are done, and the result is as if nothing had been."""
    command = ["--task", str(task), "--model", "seasonal-naive", "--json", "--out"]
    assert backtest([*command, str(tmp_path / "whole")]) == 0
    seen: list[int] = []
    real = SeasonalNaive.forecast

    def counted(self: SeasonalNaive, panel: Any, horizon: int) -> Any:
        seen.append(panel.windows)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGINT)
        return real(self, panel, horizon)

    monkeypatch.setattr(SeasonalNaive, "forecast", counted)
    assert backtest([*command, str(tmp_path / "parts")]) == 1
    assert "goes on where it stood" in capsys.readouterr().err
    fits = _counted_fits(monkeypatch)
    assert backtest([*command, str(tmp_path / "parts")]) == 0
    assert seen == [24, 48, 72, 72, 96]
    assert not fits
    assert _forecasts(tmp_path / "whole").equals(_forecasts(tmp_path / "parts"))
    assert backtest([*command, str(tmp_path / "parts")]) == 0
    assert len(seen) == 9, "a backtest that ended begins anew"


def test_what_was_stopped_can_be_thrown_away(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another seed is another question; `--fresh` forgets the same one."""
    for again, trainings in (([], 0), (["--seed", "1"], 1), (["--fresh"], 1)):
        out = tmp_path / f"out{len(again)}{trainings}"
        command = ["--task", str(task), "--model", "seasonal-naive", "--json", "--out", str(out)]
        with monkeypatch.context() as patch:
            patch.setattr(SeasonalNaive, "forecast", _interrupted)
            assert backtest(command) == 1
        with monkeypatch.context() as patch:
            fits = _counted_fits(patch)
            assert backtest([*command, *again]) == 0
        assert len(fits) == trainings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "prophet"], "no model 'prophet'; there are seasonal-naive"),
        (["--workers", "0"], "at least 1 process"),
    ],
)
def test_misuse_is_told(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit code 2 and what is allowed."""
    try:
        code: object = backtest(["--task", str(task), "--out", str(tmp_path / "out"), *arguments])
    except SystemExit as left:
        code = left.code
    assert code == 2
    assert message in capsys.readouterr().err


def _interrupted(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


def _counted_fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that are trained from now on."""
    fits: list[str] = []
    real: Callable[..., Any] = task_run.fit_forecaster
    monkeypatch.setattr(
        task_run, "fit_forecaster", lambda name, *rest, **more: fits.append(name) or real(name, *rest, **more)
    )
    return fits
