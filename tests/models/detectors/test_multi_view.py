"""The multi-view detector in its three forms, and what it sees."""

from __future__ import annotations

import numpy as np
import pytest

from models.detectors import views
from models.detectors.alerting import open_alerts
from models.detectors.multi_view import MultiView
from models.detectors.multi_view_bank import MultiViewBank
from models.detectors.multi_view_series import score_series

RANDOM = np.random.default_rng(11)
COUNT = 6_000
SERIES = {
    "noise": RANDOM.gamma(3.0, 2.0, COUNT),
    "counts": RANDOM.poisson(0.3, COUNT).astype(np.float64),
    "spikes": np.where(RANDOM.random(COUNT) < 0.01, 50 * RANDOM.pareto(1.0, COUNT), RANDOM.random(COUNT)),
    "walk": np.abs(RANDOM.normal(size=COUNT).cumsum()),
    "gaps": np.where(RANDOM.random(COUNT) < 0.1, np.nan, RANDOM.random(COUNT)),
}
STAMPS = np.arange(COUNT) * 300.0


def one_by_one(values: np.ndarray) -> np.ndarray:
    """Scores by the readable form."""
    detector, scores = MultiView(), []
    for value, stamp in zip(values.tolist(), STAMPS.tolist(), strict=False):
        scores.append(detector.score_one(value, stamp))
        detector.learn_one(value, stamp)
    return np.array(scores)


@pytest.mark.parametrize("name", list(SERIES))
def test_a_whole_series_scores_as_value_by_value(name: str) -> None:
    """The pass along time gives the same numbers, also when it is interrupted and goes on, past a turn of records."""
    row, parts = views.fresh(1)[:, 0], []
    for start in range(0, COUNT, 1_777):
        stretch = slice(start, start + 1_777)
        parts.append(score_series(SERIES[name][stretch], STAMPS[stretch], row))
    assert np.concatenate(parts) == pytest.approx(one_by_one(SERIES[name]), rel=1e-6, abs=1e-9)


def test_many_series_at_once_score_as_each_alone() -> None:
    """The bank gives each series its own numbers, whichever others are there or missing in a step."""
    count, names = 700, list(SERIES)
    bank = MultiViewBank()
    bank.grow(len(names))
    found = {name: np.zeros(count) for name in names}
    for at in range(count):
        here = [index for index in range(len(names)) if (at + index) % 3]
        values = np.array([SERIES[names[index]][at] for index in here])
        readings = bank.step(np.array(here), values, STAMPS[at])
        for index, severity in zip(here, readings.severity, strict=True):
            found[names[index]][at] = severity
    for index, name in enumerate(names):
        detector = MultiView()
        for at in range(count):
            if (at + index) % 3:
                value = float(SERIES[name][at])
                assert found[name][at] == pytest.approx(detector.score_one(value, STAMPS[at]), rel=1e-9, abs=1e-12)
                detector.learn_one(value, STAMPS[at])
        assert bank.rows(np.array([index]))[0] == pytest.approx(detector.state().arrays["row"])


def test_a_sustained_shift_is_seen_where_no_value_stands_out() -> None:
    """A level that rises by one deviation for an hour and a half is found, though each value was seen before."""
    values = np.random.default_rng(12).normal(100.0, 10.0, 3_000)
    values[2_900:2_950] += 14.0
    row = views.fresh(1)[:, 0]
    severity = score_series(values, STAMPS[:3_000], row)
    assert severity[2_900:2_950].max() >= 1
    assert (open_alerts(severity, STAMPS[:3_000])[500:2_900] >= 1).sum() <= 2


def test_a_busy_series_does_not_go_deaf() -> None:
    """Two stretches after a storm, its records have aged and half of it is a surprise again."""
    calm = np.random.default_rng(13).gamma(9.0, 1.0, 12_000)
    calm[500:520] = 500.0
    calm[11_900] = 250.0
    severity = score_series(calm, np.arange(12_000) * 300.0, views.fresh(1)[:, 0])
    assert severity[11_900] >= 1


def test_counts_of_one_and_two_do_not_page() -> None:
    """A series that is mostly zero and now and then one or two stays quiet: the grain is no surprise."""
    values = np.random.default_rng(14).choice([0.0, 1.0, 2.0], size=5_000, p=[0.97, 0.028, 0.002])
    severity = score_series(values, np.arange(5_000) * 3_600.0, views.fresh(1)[:, 0])
    assert (severity[200:] >= 1).mean() < 0.004
