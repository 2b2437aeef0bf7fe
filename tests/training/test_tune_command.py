"""`metercast tune` on a real usage file with real Optuna and MLflow stores."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from mlflow import MlflowClient

from tests.training.directories import with_store
from training.commands.tune import main as tune
from training.configuration import load_configuration

CONFIG = """
study: small
data: {window_s: 3600, season: 6, windows: 100, horizon: 6, usage: USAGE}
lstm: {batch_size: 8, steps: 4, context_seasons: 2}
space:
  hidden: {choices: [4, 8]}
  learning_rate: {low: 0.001, high: 0.01, log: true}
backtest: {origins: 2}
checks: 2
trials: 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A search over a usage file of two series."""
    start = datetime(2026, 1, 1)
    rows = [
        {
            "series": f"s{row}",
            "tenant": "ada",
            "resource": "cpu_cycles",
            "timestamp": start + timedelta(hours=hour),
            "value": 10.0 + row + float(np.sin(hour)),
        }
        for row in range(2)
        for hour in range(60)
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "usage.parquet")
    path = tmp_path / "tune.yaml"
    path.write_text(CONFIG.replace("USAGE", str(tmp_path / "usage.parquet")))
    return path


def test_a_search_resumes_and_hands_over_its_best(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run adds only the trials that lack; each is nested in the study's run; the best becomes a config."""
    data, out = with_store(config.parent / "data"), config.parent / "best.yaml"
    assert tune([str(config), "--data", str(data), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["completed"] + first["pruned"] == 2
    assert tune([str(config), "--data", str(data), "--json", "--trials", "3", "--out", str(out)]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["completed"] + second["pruned"] == 3
    assert second["best_value"] <= first["best_value"]
    assert second["run_id"] == first["run_id"]
    client = MlflowClient(f"sqlite:///{data / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tuning")
    assert experiment is not None
    nested = client.search_runs(
        [experiment.experiment_id], filter_string=f"tags.`mlflow.parentRunId` = '{first['run_id']}'"
    )
    assert len(nested) == 3
    assert len({run.data.params["learning_rate"] for run in nested}) == 3, "a resumed study proposes new values"
    assert load_configuration(out).lstm.hidden == second["best"]["hidden"]


def test_workers_share_one_study(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes run as many trials as were asked for, no value twice, all nested in the study's one run."""
    data = with_store(config.parent / "data")
    assert tune([str(config), "--data", str(data), "--json", "--trials", "4", "--workers", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["completed"] + found["pruned"] == 4
    client = MlflowClient(f"sqlite:///{data / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tuning")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.run_id for run in runs if "mlflow.parentRunId" not in run.data.tags] == [found["run_id"]]
    assert len({run.data.params["learning_rate"] for run in runs if "learning_rate" in run.data.params}) == 4
    files = {file.path for file in client.list_artifacts(found["run_id"])}
    assert {"configuration.json", "best.json", "search.png"} <= files


@pytest.mark.slow
def test_two_commands_at_once_make_one_study(config: Path) -> None:
    """Neither finds half a store, both work on one study in one run, and they propose different values."""
    data = config.parent / "data"
    command = [sys.executable, "-m", "metercast.command", "tune", str(config), "--data", str(data), "--trials", "4"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    client = MlflowClient(f"sqlite:///{data / 'mlflow.db'}")
    trials = [client.get_run(run_id) for run_id in _trials(client)]
    assert len({run.data.tags["mlflow.parentRunId"] for run in trials}) == 1
    assert len(trials) in (4, 5), "both may begin the last one"
    assert len({run.data.params["learning_rate"] for run in trials}) == len(trials)


@pytest.mark.slow
def test_the_trial_of_a_killed_command_is_closed_by_the_next(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run does not look as if it went on for ever, and it does not count as one of the trials."""
    data = with_store(config.parent / "data")
    config.write_text(config.read_text().replace("steps: 4", "steps: 400, passes: 1000"))
    arguments = [str(config), "--data", str(data), "--trials", "1", "--json"]
    killed = subprocess.Popen([sys.executable, "-m", "metercast.command", "tune", *arguments])
    client = MlflowClient(f"sqlite:///{data / 'mlflow.db'}")
    while not (begun := _trials(client)) or "holdout_loss" not in client.get_run(begun[0]).data.metrics:
        assert killed.poll() is None
        time.sleep(0.1)
    killed.kill()
    killed.wait()
    monkeypatch.setattr("training.search.HEARTBEAT_S", 1)
    time.sleep(2.5)
    assert tune(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["completed"], found["failed"]) == (1, 1)
    assert client.get_run(begun[0]).info.status == "KILLED"


def _trials(client: MlflowClient) -> list[str]:
    """Runs of trials; none while there is no experiment."""
    experiment = client.get_experiment_by_name("tuning")
    runs = client.search_runs([experiment.experiment_id]) if experiment is not None else []
    return [run.info.run_id for run in runs if "mlflow.parentRunId" in run.data.tags]


def test_a_study_of_other_data_is_refused(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Trials of different questions are never mixed in one study."""
    data = with_store(config.parent / "data")
    assert tune([str(config), "--data", str(data), "--trials", "1"]) == 0
    document = yaml.safe_load(config.read_text())
    document["metric"] = "mase"
    config.write_text(yaml.safe_dump(document))
    assert tune([str(config), "--data", str(data)]) == 2
    assert "give this one a name of its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("space", "message"),
    [("{depth: {low: 1, high: 2}}", "'depth'"), ("{hidden: {low: 9, high: 4}}", "no range"), ("{}", "space")],
)
def test_a_space_that_cannot_be_searched_is_refused(
    config: Path, capsys: pytest.CaptureFixture[str], space: str, message: str
) -> None:
    """The key and what may vary are named before anything is loaded."""
    document = yaml.safe_load(config.read_text()) | {"space": yaml.safe_load(space)}
    config.write_text(yaml.safe_dump(document))
    assert tune([str(config), "--data", str(config.parent)]) == 2
    assert message in capsys.readouterr().err
