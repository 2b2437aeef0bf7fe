"""Slow change is found, and daily rhythm, surges and noise are not taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from models.detectors.slow_drift import SlowDrift

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
