"""A series that stands still is forecast as a mixture of that value and of what it does when it moves."""

import numpy as np

from models.contracts import LEVELS
from models.dependence import Dependence, total_quantiles
from models.paths import sample_paths
from models.regimes import with_regime

MOVING = np.broadcast_to(10.0 + 10 * np.array(LEVELS), (1, 3, len(LEVELS)))


def test_certain_standstill_leaves_one_value():
    """A machine that is off for sure is billed nothing."""
    out = with_regime(MOVING, np.ones((1, 3)), np.zeros(1))
    np.testing.assert_array_equal(out, np.zeros((1, 3, len(LEVELS))))


def test_no_standstill_changes_nothing():
    """A series that moves keeps its forecast."""
    np.testing.assert_array_equal(with_regime(MOVING, np.zeros((1, 3)), np.zeros(1)), MOVING)


def test_half_a_chance_takes_half_of_the_quantiles():
    """With an even chance of being off, the lower half of the quantiles is zero and the rest is what it may wake to."""
    out = with_regime(MOVING, np.full((1, 3), 0.5), np.zeros(1))[0, 0]
    assert (out[:5] == 0).all()
    assert (out[5:] > 10).all()
    assert (np.diff(out) >= 0).all()


def test_totals_without_sampling_agree_with_sample_paths():
    """The closed form for a sum is what many sample paths would have said, to a few parts in a hundred."""
    steps = np.broadcast_to(10.0 + 10 * np.array(LEVELS), (1, 24, len(LEVELS)))
    dependence = Dependence(0.3, 0.4, 0.1)
    sampled = np.quantile(sample_paths(steps, dependence, ("t",), 4000, 1).sum(axis=2), LEVELS, axis=0).T
    np.testing.assert_allclose(total_quantiles(steps, dependence), sampled, rtol=0.05)
