"""How far off past sums were decides how wide totals are and which stretch of the past is believed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.contracts import LEVELS
from models.past_sums import past_sums
from models.totals import level_opinions, stretches

SEASON, HORIZON = 24, 168
SPREAD = np.linspace(-1.281552, 1.281552, len(LEVELS))[None]
"""Of a deviation of one."""

LENGTHS = stretches(SEASON, HORIZON)


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 30), st.integers(1, 200), st.integers(0, 2**31))
def test_errors_are_those_of_the_stretches_own_forecasts(seasons: int, horizon: int, seed: int) -> None:
    """The shortcut by running sums says what forecasting anew from every past origin says."""
    values = np.random.default_rng(seed).gamma(1.0, 1.0, (2, seasons * SEASON + 7))
    lengths = stretches(SEASON, horizon)
    errors, whole = [], []
    origin = values.shape[1] - horizon
    while origin >= min(lengths) * SEASON and len(errors) < 14:
        came = values[:, origin : origin + horizon].sum(axis=1)
        errors.append(came - level_opinions(values[:, :origin], SEASON, horizon))
        whole.append(origin // SEASON)
        origin -= SEASON
    found = past_sums(values, SEASON, horizon, lengths)
    if not errors:
        assert not found.horizons.any()
        return
    errors, tried = np.stack(errors, axis=2), np.array(whole) >= 2 * lengths[1]
    np.testing.assert_allclose(found.errors[:-1], np.abs(errors[:-1]).mean(axis=2), rtol=1e-6, atol=1e-9)
    middle = np.where(tried, np.median(errors, axis=0), np.median(errors[:-1], axis=0))
    np.testing.assert_allclose(found.squared, (middle**2).mean(axis=1), rtol=1e-6, atol=1e-9)
    assert tried.any() or np.isnan(found.errors[-1]).all()
    assert not (found.errors[-1] >= found.errors[1]).any()


def test_a_series_whose_sums_were_far_off_gets_a_wider_total() -> None:
    """Of two series of one spread, the one whose weeks differed is less sure; both lean to what is usual."""
    weeks = np.repeat(np.array([[1.0, 1.0, 1.0, 1.0], [1.0, 4.0, 0.5, 3.0]]), HORIZON, axis=1)
    past = past_sums(weeks, SEASON, HORIZON, LENGTHS)
    steady, jumpy = past.grown(np.repeat(100.0 * SPREAD, 2, axis=0), 1.0)[:, -1]
    assert 0 < steady < 100 * SPREAD[0, -1] < jumpy


def test_the_stretch_that_foretold_best_is_trusted_most() -> None:
    """Where levels keep changing, the last days say more than all of the past, and gaps do not matter."""
    walk = np.cumsum(np.random.default_rng(2).normal(0, 1, (8, 40)), axis=1)
    values = np.repeat(50 + walk, SEASON, axis=1)
    values[:, 100:130] = np.nan
    trust = past_sums(values, SEASON, SEASON, stretches(SEASON, SEASON)).trust
    assert trust.mean() == pytest.approx(1.0)
    assert trust[1].mean() > 2 * trust[3].mean()


def test_where_customers_grow_the_trend_is_believed() -> None:
    """Where usage doubles in a month the trend has a say, and where weeks only differ it has none."""
    random = np.random.default_rng(1)
    growing = np.repeat(2.0 ** (np.arange(56) / 30) * random.gamma(400, 1, (20, 56)), SEASON, axis=1)
    noisy = np.repeat(random.gamma(20, 1, (20, 56)), SEASON, axis=1)
    trust, none = (past_sums(values, SEASON, HORIZON, LENGTHS).trust[-1] for values in (growing, noisy))
    assert (trust > 1).all()
    assert (none > 0).mean() < 0.1


def test_what_is_usual_needs_many_series() -> None:
    """Sums three times as far off as said are believed of many series and half believed of few."""
    values = np.repeat(np.random.default_rng(0).gamma(4.0, 1.0, (200, 30)), SEASON, axis=1)
    past = past_sums(values, SEASON, HORIZON, LENGTHS)
    spread = np.sqrt(past.squared)[:, None] / 3 * SPREAD
    assert past.usual(spread) == pytest.approx(3.0, rel=0.15)
    few = past_sums(values[:5], SEASON, HORIZON, LENGTHS)
    assert 1.0 < few.usual(spread[:5]) < 1.5


def test_a_history_shorter_than_a_horizon_leaves_the_models_spread() -> None:
    """Without any past sum nothing is known better than the models do."""
    past = past_sums(np.ones((1, HORIZON)), SEASON, HORIZON, LENGTHS)
    assert past.usual(SPREAD) == 1.0
    np.testing.assert_array_equal(past.grown(SPREAD, 2.0), SPREAD)
    np.testing.assert_allclose(past.trust[:-1], 1.25)
    assert past.trust[-1] == 0
    assert past.trust.mean() == pytest.approx(1.0)
