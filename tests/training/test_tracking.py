"""MLflow's store lies where the data does."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.tracking import Tracking


def test_two_directories_are_two_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each data directory keeps its own runs and artifacts, and nothing is left in the working directory."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for name in ("one", "two"):
        tracking = Tracking(tmp_path / name, "test")
        run_id = tracking.start("run", {"of": name})
        tracking.log_document(run_id, {"of": name}, "document.json")
        tracking.finish(run_id)
        assert (tmp_path / name / "mlflow.db").is_file()
        assert len(list((tmp_path / name / "mlartifacts").rglob("document.json"))) == 1
    assert not list((tmp_path / "elsewhere").rglob("document.json"))


def test_figures_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    """A MASE that does not exist (all series constant) must not break a run."""
    tracking = Tracking(tmp_path, "test")
    run_id = tracking.start("run", {})
    tracking.log_figures(run_id, {"wql": 0.5, "mase": float("nan"), "bill": float("inf")})
    assert tracking._client.get_run(run_id).data.metrics == {"wql": 0.5}
