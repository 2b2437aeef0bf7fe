"""The calendar that people keep reaches the panels that models forecast from and learn from."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from features.database import connect
from models.planned import NEVER_NS
from serving.alerts.calendar import planned
from serving.alerts.store import AnomalyStore
from serving.estimating.forecasting import usage_panel
from serving.storage.history import History
from tests.training.directories import platform_directory
from training.configuration import DataConfiguration
from training.data import panel_of_directory

SECOND = 1_000_000_000


def test_an_event_reaches_forecasts_and_training(tmp_path: Path) -> None:
    """With the time it was entered, for its user's series alone; taken out, it stays in what is learnt from."""
    data = platform_directory(tmp_path / "data")
    store, now_ns = AnomalyStore(data / "metercast.db"), time.time_ns()
    event = planned("ada", "*", now_ns, now_ns + 3_600 * SECOND)
    store.plan(event)
    history = History(data / "metercast.db")
    seen = usage_panel(history, 1, time.time_ns()).planned
    assert seen is not None
    owners = [name.split("|")[0] for name in usage_panel(history, 1, time.time_ns()).series]
    np.testing.assert_array_equal(seen.applies[0], [owner == "ada" for owner in owners])
    assert now_ns <= seen.entered_ns[0] <= time.time_ns()
    earlier = usage_panel(history, 1, now_ns - SECOND).planned
    assert earlier is not None
    assert not len(earlier.starts_ns)
    assert store.unplan(event.id)
    removed = usage_panel(history, 1, time.time_ns()).planned
    assert removed is not None
    assert not len(removed.starts_ns)
    learnt = panel_of_directory(data, DataConfiguration(window_s=1, season=6)).planned
    assert learnt is not None
    assert learnt.removed_ns[0] < NEVER_NS


def test_events_of_before_count_as_entered_at_the_update(tmp_path: Path) -> None:
    """A database whose calendar did not keep times of entry: its events are known from now on, not before."""
    data = platform_directory(tmp_path / "data")
    store = AnomalyStore(data / "metercast.db")
    store.plan(planned("*", "*", 0, 2**61))
    connection = connect(data / "metercast.db")
    connection.execute("DELETE FROM planned_entries")  # as an earlier version left it
    connection.close()
    updated_ns = time.time_ns()
    AnomalyStore(data / "metercast.db")
    learnt = panel_of_directory(data, DataConfiguration(window_s=1, season=6)).planned
    assert learnt is not None
    assert learnt.entered_ns[0] >= updated_ns
