"""The detector on series as different services have them: it neither alerts all the time nor is it deaf."""

from __future__ import annotations

import numpy as np
import pytest

from models.detectors.alerting import QUIET_S, open_alerts
from models.detectors.multi_view import MultiView
from models.detectors.stream import score_stream

DAYS, AT = 20, 0.7
"""Length of a series, and where the fault begins in it."""

LEARNING_DAYS = 3


def series(shape: str, stamps_s: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Values of a kind of service, none of them out of the ordinary."""
    count = len(stamps_s)
    daily = 1 + 0.5 * np.sin(2 * np.pi * stamps_s / 86_400)
    gauge = np.empty(count)
    level = 40.0
    for index, step in enumerate(random.normal(0, 1, count)):
        level += 0.05 * (40 - level) + step
        gauge[index] = round(level)
    made = {
        "counts with a rhythm": random.poisson(50 * daily).astype(float),
        "share of a processor": np.clip(50 * daily + random.normal(0, 6, count), 0, 100),
        "mostly full": np.clip(100 + random.normal(3, 3, count), 0, 100),
        "whole-number gauge": gauge,
        "random walk": 1_000 + np.cumsum(random.normal(0, 1, count)),
        "memory that fills and is freed": 100 + (stamps_s % 21_600) / 180 + random.normal(0, 2, count),
        "latencies": np.exp(random.normal(3, 0.6, count)),
        "latencies with a heavy tail": 10 * (1 + random.pareto(2.2, count)),
        "mostly zero": np.where(random.random(count) < 0.01, random.lognormal(3, 1, count), 0.0),
    }
    return made[shape]


CALM = (
    "counts with a rhythm",
    "share of a processor",
    "whole-number gauge",
    "random walk",
    "memory that fills and is freed",
)
HEAVY = ("mostly full", "latencies", "latencies with a heavy tail", "mostly zero")
STEPS = {"5 min": 300.0, "hour": 3_600.0, "irregular": 0.0}


def times(step: str, random: np.random.Generator) -> np.ndarray:
    """Times of 20 days in even steps, or in uneven ones with a day missing."""
    if step != "irregular":
        return 1.6e9 + np.arange(DAYS * 86_400 / STEPS[step]) * STEPS[step]
    stamps_s = 1.6e9 + np.cumsum(random.exponential(600.0, DAYS * 144))
    return stamps_s[(stamps_s < 1.6e9 + 6 * 86_400) | (stamps_s > 1.6e9 + 7 * 86_400)]


def alerts(values: np.ndarray, stamps_s: np.ndarray) -> np.ndarray:
    """Severities of what opened."""
    return open_alerts(score_stream(MultiView, values, stamps_s), stamps_s)


@pytest.mark.parametrize("step", list(STEPS))
@pytest.mark.parametrize("shape", [*CALM, *HEAVY])
def test_it_is_neither_noisy_nor_deaf(shape: str, step: str) -> None:
    """Alerts a day stay few; four hours far above what was ever seen open one, unless one is open by chance."""
    random = np.random.default_rng(2)
    stamps_s = times(step, random)
    values = series(shape, stamps_s, random)
    is_later = stamps_s >= stamps_s[0] + LEARNING_DAYS * 86_400
    days = (stamps_s[-1] - stamps_s[0]) / 86_400 - LEARNING_DAYS
    opened = alerts(values, stamps_s)
    assert ((opened >= 1) & is_later).sum() / days <= (0.25 if shape in CALM else 1.25)
    begin_s = stamps_s[0] + AT * DAYS * 86_400
    is_fault = (stamps_s >= begin_s) & (stamps_s < begin_s + 4 * 3_600)
    surged = np.where(is_fault, values + 3 * values.max(), values)
    assert score_stream(MultiView, surged, stamps_s)[is_fault].max() > 1.5
    is_told = (stamps_s >= begin_s - QUIET_S) & (stamps_s < begin_s + 4 * 3_600)
    assert alerts(surged, stamps_s)[is_told].max() >= 1


@pytest.mark.parametrize("shape", CALM)
def test_a_level_that_stays_up_is_told_and_then_becomes_usual(shape: str) -> None:
    """A shift opens an alert within a day, and not one after another for ever."""
    random = np.random.default_rng(3)
    stamps_s = times("5 min", random)
    values = series(shape, stamps_s, random)
    begin_s = stamps_s[0] + AT * DAYS * 86_400
    shifted = np.where(stamps_s >= begin_s, values + 4 * values.std(), values)
    opened = alerts(shifted, stamps_s)
    assert opened[(stamps_s >= begin_s) & (stamps_s < begin_s + 86_400)].max() >= 1
    assert (opened[stamps_s >= begin_s + 2 * 86_400] >= 1).sum() <= 4
