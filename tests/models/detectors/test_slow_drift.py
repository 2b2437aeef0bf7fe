"""Slow change is found, and daily rhythm, surges and noise are not taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from models.detectors import slow_drift_bank
from models.detectors.slow_drift import SlowDrift
from models.detectors.slow_drift_bank import SlowDriftBank

HOURS = np.arange(24 * 28)
RHYTHM = 100 * (1 + 0.5 * np.sin(2 * np.pi * HOURS / 24))


def run(values: np.ndarray) -> np.ndarray:
    """Scores of hourly values."""
    detector, scores = SlowDrift(), []
    for hour, value in enumerate(values.tolist()):
        scores.append(detector.score_one(value, hour * 3_600.0))
        detector.learn_one(value, hour * 3_600.0)
    return np.array(scores)


@pytest.mark.parametrize("noise", [0.02, 0.1])
def test_a_leak_of_five_per_cent_a_day_is_found_within_days(noise: float) -> None:
    """From the fifteenth day on usage grows by 5 % a day; it is found before it has grown by a third."""
    random = np.random.default_rng(3)
    leak = np.where(HOURS < 14 * 24, 1.0, 1.05 ** ((HOURS - 14 * 24) / 24))
    scores = run(RHYTHM * leak * random.normal(1.0, noise, len(HOURS)))
    assert scores[: 14 * 24].max() < 1
    assert scores[14 * 24 : 20 * 24].max() >= 1


def test_rhythm_noise_and_one_surge_are_no_drift() -> None:
    """Four quiet weeks with a daily rhythm and one hour of ten times the usual."""
    for seed in range(8):
        values = RHYTHM * np.random.default_rng(seed).normal(1.0, 0.1, len(HOURS))
        values[500] *= 10
        assert run(values).max() < 1


def test_many_series_at_once_score_as_each_alone() -> None:
    """The bank takes quarters of some of the series at a time, and gives each the numbers it has alone."""
    random, series = np.random.default_rng(9), 40
    growth = 1 + random.choice([0.0, 0.02, 0.05], series)
    alone, bank = [SlowDrift() for _ in range(series)], SlowDriftBank()
    bank.grow(series)
    for period in range(28 * 4):
        here = np.flatnonzero(random.random(series) < 0.9)
        means = 100 * growth[here] ** (period / 4) * random.normal(1.0, 0.1, len(here))
        means[random.random(len(here)) < 0.01] = 0.0
        band = bank.usual(here, np.full(len(here), float(period))).T
        assert band == pytest.approx(np.array([alone[column].usual(period) for column in here.tolist()]))
        scores = bank.take(here, np.full(len(here), float(period)), means)
        found = [alone[column].take(period, mean * 3, 3) for column, mean in zip(here.tolist(), means, strict=True)]
        assert scores == pytest.approx(np.array(found))
    assert (bank.rows(slice(None))[:, slow_drift_bank.SQUARE_COUNT] > 50).any()
