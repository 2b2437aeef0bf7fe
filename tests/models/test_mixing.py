"""Forecasts are weighted by recent losses and mixed as distributions."""

from __future__ import annotations

import numpy as np

from models.contracts import LEVELS
from models.mixing import Judging, hedge, mixture, weights_by_kind, with_losses

COUNT = len(LEVELS)


def flat(value: float) -> np.ndarray:
    """One certain value for one series over two windows: (series, horizon, levels)."""
    return np.full((1, 2, COUNT), value)


def losses(forecasts: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Losses of members and, last, the count (series, members + 1), as `hedge` takes them."""
    none = np.zeros(len(actual))
    return np.stack([*(with_losses(none, one, actual) for one in forecasts), np.isfinite(actual).sum(axis=1)], axis=1)


def mixed_of(forecasts: list[np.ndarray], weights: list[float]) -> np.ndarray:
    """The mixture of what members say of one series (1, horizon, levels)."""
    places = np.stack([np.arange(len(forecasts)), np.zeros(len(forecasts), dtype=np.int64)], axis=1)[None]
    return mixture(forecasts, places, np.array([weights]), forecasts[0].shape[1])


def test_the_better_member_gets_the_weight() -> None:
    """A member that was right is trusted, one that was far off is not."""
    forecasts = np.stack([flat(10.0), flat(100.0)])
    weights = hedge(losses(forecasts, np.full((1, 2), 11.0)), "ab", Judging(8.0, 1.0, {}))
    assert weights[0, 0] > 0.9
    assert weights.sum() == 1


def test_missing_windows_count_nowhere() -> None:
    """Losses of windows that nobody saw are none, so the priors decide."""
    forecasts = np.stack([flat(10.0), flat(100.0)])
    weights = hedge(losses(forecasts, np.full((1, 2), np.nan)), "ab", Judging(8.0, 1.0, {"a": 3.0}))
    np.testing.assert_allclose(weights, [[0.75, 0.25]])


def test_series_that_switch_learn_from_each_other_and_not_from_the_rest() -> None:
    """A member that fails on all machines of a cluster loses its say there, also where it happened to be right."""
    found = np.array([[1.0, 3.0, 24], [2.0, 1.8, 24], [1.0, 3.0, 24], [3.0, 1.0, 24], [1.8, 2.0, 24]])
    cluster = np.array([True, True, True, False, False])
    weights = weights_by_kind(found, ["level", "chain"], cluster)
    assert weights[1, 0] > 0.6
    assert weights[4, 1] < 0.5
    rest = found.copy()
    rest[~cluster, :2] = rest[~cluster, 1::-1]
    np.testing.assert_array_equal(weights_by_kind(rest, ["level", "chain"], cluster)[:3], weights[:3])


def test_a_mixture_of_off_and_on_is_never_half_on() -> None:
    """Between a member that says off and one that says on, no quantile lies in the middle of both."""
    mixed = mixed_of([flat(0.0), flat(100.0)], [0.6, 0.4])[0, 0]
    assert (mixed[:5] == 0).all()
    assert (mixed[6:] == 100).all()


def test_a_mixture_of_equals_is_each_of_them() -> None:
    """Members that agree are not made wider or narrower by more than a step between quantiles."""
    one = np.broadcast_to(np.arange(COUNT, dtype=float), (1, 2, COUNT))
    mixed = mixed_of([one, one, one], [1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(mixed, one, atol=0.51)


def test_a_member_without_weight_says_nothing() -> None:
    """What one member alone forecasts is passed on bit for bit."""
    mixed = mixed_of([flat(3.0), flat(100.0)], [1.0, 0.0])
    np.testing.assert_array_equal(mixed, flat(3.0))
