"""The dependence of errors is measured, not guessed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from models.contracts import LEVELS
from models.dependence import Dependence, estimate, scores
from models.paths import sample_levels

TENANTS = tuple(f"t{index // 10}" for index in range(40))


@pytest.mark.parametrize("truth", [Dependence(0.0, 0.0, 0.0), Dependence(0.5, 0.3, 0.4), Dependence(0.2, 0.8, 0.0)])
def test_what_was_sampled_is_found_again(truth: Dependence) -> None:
    """The estimate from sampled errors is near the parameters they were sampled with."""
    z = ndtri(np.clip(sample_levels(truth, TENANTS, 24, 120, seed=1), 1e-6, 1 - 1e-6))
    found = estimate(z, TENANTS)
    assert found.level == pytest.approx(truth.level, abs=0.08)
    assert found.memory == pytest.approx(truth.memory, abs=0.12)
    assert found.common == pytest.approx(truth.common, abs=0.1)


def test_levels_are_uniform() -> None:
    """Each value alone is uniform, or quantiles of paths would not be the forecast's."""
    levels = sample_levels(Dependence(0.4, 0.5, 0.3), TENANTS, 6, 4_000, seed=2)
    assert np.quantile(levels, LEVELS) == pytest.approx(LEVELS, abs=0.02)


def test_scores_of_ties_are_in_the_middle() -> None:
    """An idle series whose quantiles are all zero is neither over- nor underestimated."""
    assert scores(np.array([0.0]), np.zeros((1, 9)))[0] == pytest.approx(0.0)
    assert np.isnan(scores(np.array([np.nan]), np.zeros((1, 9)))[0])
