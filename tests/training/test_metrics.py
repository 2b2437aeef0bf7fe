"""Figures agree with their definitions, computed here by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.contracts import LEVELS, Forecast
from models.losses import pinball, seasonal_scale
from training.metrics import accuracy, calibration


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


def test_bills_count_where_all_of_them_is_known() -> None:
    """A total is not wrong because a window of it was not measured; without any whole bill there is no figure."""
    past, whole, gap = np.array([[0.0, 1.0, 2.0, 3.0]] * 2), [10.0, 10.0], [10.0, np.nan]
    forecast = _forecast(np.array([[10.0, 12.0], [10.0, 12.0]]), 4.0)
    found = accuracy([past], [np.array([whole, gap])], [forecast], season=2)
    assert found.bill_wape == pytest.approx(2 / 20)
    assert found.bill_coverage == 1.0
    assert np.isnan(accuracy([past], [np.array([gap, gap])], [forecast], season=2).bill_wape)


def test_pinball_at_the_median_is_the_absolute_error() -> None:
    """The factor of two makes it so."""
    loss = pinball(np.array([3.0]), np.full((1, len(LEVELS)), 5.0))
    assert loss[0, LEVELS.index(0.5)] == pytest.approx(2.0)


def test_tens_of_thousands_of_series_are_judged_in_parts() -> None:
    """What is looked at in parts gives what the whole gives: figures of twice the series, each twice, are the same."""
    random = np.random.default_rng(0)
    past, actual = random.gamma(1, 3, (3000, 60)), random.gamma(1, 3, (3000, 6))
    actual[random.random(actual.shape) < 0.1] = np.nan
    one = _forecast(random.gamma(1, 3, (3000, 6)), 2.0)
    two = Forecast(LEVELS, np.tile(one.steps, (2, 1, 1)), np.tile(one.totals, (2, 1)))
    single = accuracy([past], [actual], [one], season=24).document()
    double = accuracy([np.tile(past, (2, 1))], [np.tile(actual, (2, 1))], [two], season=24).document()
    assert double == pytest.approx(single)


def test_calibration_of_known_draws() -> None:
    """Draws of the distribution that was forecast fall on the diagonal, others beside it; missing ones do not count."""
    random = np.random.default_rng(0)
    actual = random.random((200, 50))
    actual[:, ::7] = np.nan
    steps = np.broadcast_to(np.asarray(LEVELS), (200, 50, len(LEVELS)))
    assert calibration([actual], [steps]) == pytest.approx(np.asarray(LEVELS), abs=0.02)
    assert calibration([actual], [steps + 0.1])[0] == pytest.approx(0.2, abs=0.02)


def test_services_that_are_mostly_off_do_not_look_badly_calibrated() -> None:
    """Most quantiles of a service that is off in 7 of 10 windows are 0, and so are most windows: that is right."""
    random = np.random.default_rng(0)
    draws = np.maximum(random.random((500, 40)) - 0.7, 0.0)
    quantiles = np.maximum(np.asarray(LEVELS) - 0.7, 0.0)
    found = calibration([draws], [np.broadcast_to(quantiles, (500, 40, len(LEVELS)))])
    assert found == pytest.approx(np.asarray(LEVELS), abs=0.05)  # no closer than half of what levels are apart
    idle = calibration([np.zeros((3, 4))], [np.zeros((3, 4, len(LEVELS)))])
    assert idle == pytest.approx(np.asarray(LEVELS))
