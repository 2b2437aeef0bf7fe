"""The sum over a horizon is agreed on between stretches of the past and the models, and paths follow it."""

from __future__ import annotations

import numpy as np
import pytest

from models.contracts import LEVELS
from models.totals import agreed, level_opinions, opinion_weights, with_totals

COUNT, MIDDLE = len(LEVELS), LEVELS.index(0.5)


def test_every_stretch_of_a_steady_series_says_the_same() -> None:
    """A series that repeats its season has one answer, also for a part of a season and with gaps."""
    values = np.tile(np.arange(24.0), (1, 10))
    values[0, 30] = np.nan
    np.testing.assert_allclose(level_opinions(values, 24, 48), np.full((5, 1), 2 * 276.0))
    np.testing.assert_allclose(level_opinions(values, 24, 3), np.full((5, 1), 3.0))


def test_a_changed_level_divides_the_opinions() -> None:
    """Short stretches follow a change that long ones have hardly seen."""
    values = np.concatenate([np.full((1, 24 * 20), 1.0), np.full((1, 24 * 4), 5.0)], axis=1)
    near, _, _, far, _ = level_opinions(values, 24, 24 * 7)[:, 0]
    assert near == pytest.approx(5 * 24 * 7)
    assert far < 2 * 24 * 7


def test_growth_is_expected_to_go_on_half_as_fast() -> None:
    """A customer whose weeks were 100 and then 121 is expected at 133; from part of a week no growth is read."""
    weeks = np.repeat([[100.0, 121.0]], 24 * 7, axis=1) / (24 * 7)
    assert level_opinions(weeks, 24, 24 * 7)[-1, 0] == pytest.approx(121 * 1.1)
    assert level_opinions(weeks[:, 24:], 24, 24 * 7)[-1, 0] == pytest.approx(121)


def test_a_few_windows_are_enough() -> None:
    """A new series has opinions too, none of them wild."""
    opinions = level_opinions(np.array([[2.0, np.nan, 4.0]]), 24, 10)
    assert (opinions >= 20).all()
    assert (opinions <= 40).all()


def test_one_wild_opinion_does_not_move_the_median() -> None:
    """The median of opinions holds what a mean would not."""
    opinions = np.array([[10.0], [11.0], [10.5], [9_000.0], [10.2], [10.8]])
    totals = agreed(opinions, opinion_weights(np.ones((4, 1)), 24, 168), np.zeros((1, COUNT)))
    assert totals[0, MIDDLE] == pytest.approx(10.6, abs=0.5)
    assert (np.diff(totals) >= 0).all()


def test_an_opinion_without_weight_changes_nothing() -> None:
    """A trend that was never tried does not even widen a total, however wild it is."""
    opinions, spread = np.array([[10.0], [11.0], [10.5], [10.2], [10.8]]), np.linspace(-1, 1, COUNT)[None]
    weights = np.array([[1.0], [0.5], [2.0], [1.0], [1.5]])
    alone = agreed(opinions, weights, spread)
    for wild in (0.0, 10.4, 9_000.0):
        more = agreed(np.vstack([opinions, [[wild]]]), np.vstack([weights, [[0.0]]]), spread)
        np.testing.assert_allclose(more, alone)


def test_a_total_is_at_least_as_wide_as_each_of_its_reasons() -> None:
    """Neither opinions that agree by chance nor models that are sure make a bill look certain."""
    opinions = np.array([[90.0], [100.0], [110.0], [95.0], [105.0], [100.0]])
    weights, unsure = opinion_weights(np.ones((4, 1)), 24, 168), 30.0 * np.linspace(-1, 1, COUNT)[None]
    split = _reach(agreed(opinions, weights, np.zeros((1, COUNT))))
    spread = _reach(agreed(np.full_like(opinions, 100.0), weights, unsure))
    both = _reach(agreed(opinions, weights, unsure))
    assert both == pytest.approx(np.hypot(split, spread), rel=0.05)


def _reach(totals: np.ndarray) -> float:
    return float(totals[0, -1] - totals[0, 0])


def test_paths_sum_up_to_the_totals() -> None:
    """Sums of scaled paths have the quantiles that were agreed on, and idle paths stay idle."""
    paths = np.random.default_rng(0).gamma(2.0, 1.0, (2_000, 2, 12))
    paths[:, 1] = 0.0
    totals = np.stack([100.0 + 10 * np.arange(COUNT), np.zeros(COUNT)])
    scaled = with_totals(paths, totals)
    np.testing.assert_allclose(np.quantile(scaled.sum(axis=2), LEVELS, axis=0).T, totals, rtol=0.01)
    assert scaled[:, 1].max() == 0
