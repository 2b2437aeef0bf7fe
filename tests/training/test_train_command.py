"""`metercast train` and `promote` on a real data directory with a real MLflow store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from models.bundle import load
from serving.champion import ChampionWatch
from tests.training.directories import platform_directory, with_store
from training.commands.promote import main as promote
from training.commands.train import main as train

CONFIG = """
experiment: test
data: {window_s: 1, season: 6, windows: 100, horizon: 6}
models: [seasonal-naive, markov, lstm]
lstm: {hidden: 8, context_seasons: 2, batch_size: 16, steps: 10}
backtest: {origins: 2}
promote: true
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a minute of windows."""
    path = with_store(platform_directory(tmp_path_factory.mktemp("data")))
    (path / "train.yaml").write_text(CONFIG)
    return path


@pytest.mark.slow
def test_train_then_promote(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training registers every model and crowns the best; promoting another swaps what a server would load."""
    assert train([str(directory / "train.yaml"), "--data", str(directory), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["model"] for row in document["models"]] == ["seasonal-naive", "markov", "lstm"]
    assert document["champion"]["wql"] == min(row["wql"] for row in document["models"])
    watch = ChampionWatch(directory / "models" / "champion")
    first = watch.current()
    assert first is not None
    assert first[1]["version"] == document["champion"]["version"]
    other = next(row for row in document["models"] if row["version"] != document["champion"]["version"])
    # Two users' worth of steady series: none of the others is better beyond luck.
    assert promote([other["model"], "--data", str(directory), "--json"]) == 1
    refused = json.loads(capsys.readouterr().out)
    assert refused["champion"] == refused["before"] == document["champion"]["version"]
    assert refused["challenge"]["certainty"] < 0.95
    assert promote([other["model"], "--data", str(directory), "--json", "--force"]) == 0
    assert json.loads(capsys.readouterr().out)["before"] == document["champion"]["version"]
    second = watch.current()
    assert second is not None
    assert (second[1]["version"], second[0].name) == (other["version"], other["model"])
    forecaster, metadata = load(directory / "models" / "champion")
    assert metadata["backtest"]["origins"] == 2
    assert forecaster.name == other["model"]
    client = MlflowClient(f"sqlite:///{directory / 'mlflow.db'}")
    run_id = next(row["run_id"] for row in document["models"] if row["model"] == "lstm")
    files = {file.path for file in client.list_artifacts(run_id)}
    assert {"model", "fan.png", "calibration.png", "horizon.png", "loss.png"} <= files
    model = {file.path for file in client.list_artifacts(run_id, "model")}
    assert {"model/MLmodel", "model/data", "model/input_example.json"} <= model
    parent = client.get_run(document["run_id"])
    assert "configuration.json" in {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert client.get_run(run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert [point.step for point in client.get_metric_history(run_id, "horizon_wql")] == [1, 2, 3, 4, 5, 6]
    assert [point.step for point in client.get_metric_history(run_id, "origin_wql")] == [0, 1]
    assert len(client.get_metric_history(run_id, "train_loss")) == 10
    assert client.get_run(run_id).data.params["data"] == metadata["data"]
    assert promote(["99", "--data", str(directory)]) == 2
    assert "no version '99'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_champion_yields_only_to_what_is_surely_better(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training the same models on the same data once more changes no champion, and says why."""
    config = directory / "again.yaml"
    config.write_text(CONFIG.replace("[seasonal-naive, markov, lstm]", "[seasonal-naive]"))
    data = directory.parent / f"{directory.name}-again"
    with_store(data)
    (data / "metercast.db").symlink_to(directory / "metercast.db")
    assert train([str(config), "--data", str(data), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["promotion"]["reason"] == "there was no champion"
    bundle = (data / "models" / "champion" / "bundle.json").read_bytes()
    assert train([str(config), "--data", str(data), "--json"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["champion"] is None
    assert second["promotion"]["reason"].startswith("the champion stays")
    assert second["promotion"]["challenge"]["certainty"] == 0.0
    assert (data / "models" / "champion" / "bundle.json").read_bytes() == bundle
    config.write_text(config.read_text() + "certainty: 0\n")
    assert train([str(config), "--data", str(data), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["champion"]["version"] == "3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: [prophet]", "models.0"),
        ("data: {horizon: 0}", "data.horizon"),
        ("epochs: 3", "epochs"),
        ("models: [", "not valid YAML"),
    ],
)
def test_bad_configurations_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    """The key and the value are named before anything is loaded."""
    (tmp_path / "c.yaml").write_text(text)
    assert train([str(tmp_path / "c.yaml"), "--data", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_directory_without_a_platform_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong --data is an error that says what is missing."""
    (tmp_path / "c.yaml").write_text("{}")
    assert train([str(tmp_path / "c.yaml"), "--data", str(tmp_path)]) == 2
    assert "no metercast.db" in capsys.readouterr().err
