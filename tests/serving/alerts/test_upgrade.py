"""A new version of the detectors on an old data directory."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np
import pytest

from features.database import Location, connect, tables
from models.detectors import views
from models.detectors.multi_view import MultiView
from models.detectors.slow_drift import SlowDrift
from serving.alerts.detector_store import DetectorStore
from serving.alerts.series_bank import SeriesBank
from serving.storage.migrations import MIGRATIONS, migrate

VALUES = np.random.default_rng(2).gamma(9.0, 1.0, 24 * 6)
FIRST_S = 1_000 * 21_600.0


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Any) -> Location:
    """A database of version 1."""
    place = tmp_path / "m.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_server").database()
    migrate(place, MIGRATIONS[:1])
    connection = connect(place)
    connection.execute("CREATE TABLE detectors (series TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID")
    connection.close()
    return place  # type: ignore[no-any-return]


def _version_1(values: np.ndarray) -> tuple[str, MultiView, SlowDrift]:
    """A series' row as version 1 kept it, and its two detectors."""
    detector, drift = MultiView(), SlowDrift()
    for hour, value in enumerate(values.tolist()):
        detector.learn_one(value, FIRST_S + hour * 3_600)
        drift.learn_one(value, FIRST_S + hour * 3_600)
    last = (len(values) - 1) // 6 * 6
    own = np.array([FIRST_S, 1_000 + last // 6, values[last:].sum(), len(values) - last])
    numbers = np.concatenate([detector.state().arrays["row"], own, drift.state().arrays["numbers"]])
    return b64encode(numbers.tobytes()).decode(), detector, drift


def test_what_was_learnt_goes_on(location: Location) -> None:
    """After the migration the next value scores as it would have, and the drift test stands where it stood."""
    text, detector, drift = _version_1(VALUES)
    connection = connect(location)
    connection.execute("INSERT INTO detectors VALUES (?, ?)", ("ada|checkout|CPU_INSTRUCTION|cpu_cycles", text))
    assert migrate(location) == MIGRATIONS[-1].version
    assert "detectors" not in tables(connection)
    bank = SeriesBank()
    assert DetectorStore().load(connection, bank) == [(0, ("ada", "checkout", "CPU_INSTRUCTION", "cpu_cycles"))]
    at_s, value = FIRST_S + len(VALUES) * 3_600, 100.0
    readings, _ = bank.step(np.array([0]), np.array([value]), at_s)
    assert readings.severity[0] == pytest.approx(detector.score_one(value, at_s))
    assert bank.age_s(np.array([0]), at_s)[0] == at_s - FIRST_S
    for period in range(1_024, 1_064):
        drift.learn_one(value * 1.1 ** (period - 1_024), period * 21_600.0)
        score = drift.score_one(0.0, (period + 1) * 21_600.0)
        bank.step(np.array([0]), np.array([value * 1.1 ** (period - 1_023)]), (period + 1) * 21_600.0)
        found = bank.rows(np.array([0]))[0, views.WIDTH]
        assert found == pytest.approx(score)
    connection.close()


def test_state_of_another_version_does_not_stop_the_start(location: Location) -> None:
    """A detector whose kept state cannot be read begins anew."""
    connection = connect(location)
    rows = [("ada|checkout|CPU_INSTRUCTION", '{"document": {}, "x": 1}'), ("a|b|c|d", b64encode(b"12345678").decode())]
    connection.executemany("INSERT INTO detectors VALUES (?, ?)", rows)
    migrate(location)
    assert DetectorStore().load(connection, SeriesBank()) == []
    connection.close()
