"""A registered version becomes champion only where it is better on windows that are new to both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle import save
from models.forecasters.registry import FORECASTERS
from models.panel import Panel
from tests.training.directories import with_store
from training.fingerprint import fingerprint
from training.promotion import Contest, promote_version
from training.served_model import save_served
from training.tracking import Tracking

HORIZON, SEASON = 6, 6


def _seasonal(rows: int = 8, windows: int = 72) -> Panel:
    """Series that repeat each season, each at a level and with a little noise of its own."""
    random = np.random.default_rng(3)
    shape = 10 + 5 * np.sin(2 * np.pi * np.arange(windows) / SEASON)
    values = np.arange(1, rows + 1)[:, None] * shape + random.normal(0, 0.3, (rows, windows))
    names = tuple(f"u|op{row}|CPU_INSTRUCTION|cpu_cycles" for row in range(rows))
    return Panel(names, ("u",) * rows, ("cpu_cycles",) * rows, values, 0, 3_600_000_000_000, SEASON)


def _registered(tracking: Tracking, kind: str, panel: Panel, scratch: Path) -> str:
    """A version of a kind, trained on all of a panel."""
    metadata = {
        "name": kind,
        "window_s": 3600,
        "season": SEASON,
        "horizon": HORIZON,
        "trained_until": panel.time_of(panel.windows).isoformat(),
        "data": fingerprint(panel),
    }
    save(FORECASTERS[kind]().fit(panel, HORIZON), scratch / kind / "bundle", metadata)
    save_served(scratch / kind / "bundle", metadata, scratch / kind / "model")
    return tracking.register(tracking.start(kind, {}), kind, scratch / kind / "model")


def test_the_better_takes_the_place_of_the_worse_and_not_the_other_way(tmp_path: Path) -> None:
    """On a strict season, repeating the last season beats any wider guess, whoever is champion first."""
    panel, data = _seasonal(), with_store(tmp_path / "data")
    tracking = Tracking(data)
    naive = _registered(tracking, "seasonal-naive", panel, tmp_path)
    markov = _registered(tracking, "markov", panel, tmp_path)
    contest = Contest(panel, (54, 60, 66), HORIZON)
    assert promote_version(tracking, markov, contest, data).reason == "there was no champion"
    found = promote_version(tracking, naive, contest, data)
    assert found.version == naive, found.reason
    assert found.challenge is not None
    assert found.challenge.challenger < found.challenge.champion
    back = promote_version(tracking, markov, contest, data)
    assert back.version is None
    assert "the champion stays" in back.reason
    assert tracking.champion() == naive
    assert promote_version(tracking, markov, None, data).version == markov
    assert tracking.champion() == markov


def test_what_was_seen_in_training_is_no_merit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version trained on the windows it is judged on is trained anew without them; one that was not stays."""
    from training import promotion

    fitted: list[int] = []
    real = promotion.fit_forecaster
    monkeypatch.setattr(
        promotion,
        "fit_forecaster",
        lambda name, past, *rest, **more: fitted.append(past.windows) or real(name, past, *rest, **more),
    )
    panel, data = _seasonal(), with_store(tmp_path / "data")
    tracking = Tracking(data)
    early = _registered(tracking, "seasonal-naive", panel.until(54), tmp_path)
    late = _registered(tracking, "markov", panel, tmp_path)
    contest = Contest(panel, (54, 60, 66), HORIZON)
    promote_version(tracking, early, None, data)
    promote_version(tracking, late, contest, data)
    assert fitted == [54], "only the version that knew later windows"


def test_another_window_is_no_champion_to_compare_with(tmp_path: Path) -> None:
    """A champion of hourly windows says nothing about windows of minutes."""
    panel, data = _seasonal(), with_store(tmp_path / "data")
    tracking = Tracking(data)
    version = _registered(tracking, "seasonal-naive", panel, tmp_path)
    promote_version(tracking, version, None, data)
    other = _registered(tracking, "markov", panel, tmp_path)
    minutes = replace(panel, window_ns=60_000_000_000)
    found = promote_version(tracking, other, Contest(minutes, (54, 60), HORIZON), data)
    assert found.version == other
    assert "windows of 3600 s, these are of 60 s" in found.reason
