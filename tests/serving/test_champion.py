"""The champion is swapped while the server runs, and a bad one never takes the place of a good one."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.bundle import save
from models.forecasters.markov import Markov
from models.forecasters.seasonal_naive import SeasonalNaive
from serving.champion import ChampionWatch

GOOD = {"version": "1", "window_s": 1, "resources": ["cpu_cycles", "executions"]}


def test_hot_swap(tmp_path: Path) -> None:
    """None before the first, then each that is put in place."""
    watch = ChampionWatch(tmp_path / "champion", (1, 10))
    assert watch.current() is None
    for kind, version in ((SeasonalNaive, "1"), (Markov, "2")):
        save(kind(), tmp_path / "champion", GOOD | {"version": version})
        found = watch.current()
        assert found is not None
        assert (found[0].name, found[1]["version"]) == (kind.name, version)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_s": 7}, "windows of 7 s"),
        ({"resources": ["gpu_cycles"]}, "trained on gpu_cycles"),
    ],
)
def test_models_of_other_columns_are_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    """The one before stays in force, and the problem says why."""
    watch = ChampionWatch(tmp_path / "champion", (1, 10))
    save(Markov(), tmp_path / "champion", GOOD)
    assert watch.current() is not None
    save(Markov(), tmp_path / "champion", GOOD | change | {"version": "2"})
    found = watch.current()
    assert found is not None
    assert found[1]["version"] == "1"
    assert message in str(watch.problem)


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    """A half-written directory is no model."""
    watch = ChampionWatch(tmp_path / "champion")
    (tmp_path / "champion").mkdir()
    (tmp_path / "champion" / "bundle.json").write_text("{}")
    assert watch.current() is None
    assert "cannot be loaded" in str(watch.problem)
