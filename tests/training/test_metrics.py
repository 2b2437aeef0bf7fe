"""Figures agree with their definitions, computed here by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.contracts import LEVELS, Forecast
from models.losses import pinball, seasonal_scale
from training.metrics import accuracy


def _forecast(middle: np.ndarray, spread: float) -> Forecast:
    steps = middle[:, :, None] + spread * (np.asarray(LEVELS) - 0.5)
    return Forecast(LEVELS, steps, steps.sum(axis=1))


def test_by_hand() -> None:
    """One series, scale 2: absolute errors 1 and 3 are a MASE of 1."""
    past = np.array([[0.0, 1.0, 2.0, 3.0]])
    actual = np.array([[10.0, 10.0]])
    forecast = _forecast(np.array([[11.0, 13.0]]), 0.0)
    found = accuracy([past], [actual], [forecast], season=2)
    assert seasonal_scale(past, 2).tolist() == [2.0]
    assert found.mase == pytest.approx(1.0)
    assert found.wql == pytest.approx(2 * 0.5 * 4 / 20)
    assert found.coverage == 0.0
    assert found.bill_wape == pytest.approx(4 / 20)


def test_missing_actuals_do_not_count() -> None:
    """A window without a measurement neither helps nor hurts."""
    past = np.array([[0.0, 1.0, 2.0, 3.0]])
    forecast = _forecast(np.array([[11.0, 500.0]]), 4.0)
    found = accuracy([past], [np.array([[10.0, np.nan]])], [forecast], season=2)
    assert found.mase == pytest.approx(0.5)
    assert found.coverage == 1.0


def test_pinball_at_the_median_is_the_absolute_error() -> None:
    """The factor of two makes it so."""
    loss = pinball(np.array([3.0]), np.full((1, len(LEVELS)), 5.0))
    assert loss[0, LEVELS.index(0.5)] == pytest.approx(2.0)
