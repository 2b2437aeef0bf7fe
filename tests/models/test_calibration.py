"""Widths are set by how often intervals covered what came."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from models.calibration import PRIOR_WINDOWS, online_factor, stretched
from models.contracts import LEVELS


@pytest.mark.parametrize("error", [0.6, 1.0, 1.8])
def test_widths_follow_errors_that_have_changed(error: float) -> None:
    """With many windows behind it, an interval made for errors of 1 covers 80 % of errors of another size."""
    score, windows = NormalDist().inv_cdf(LEVELS[-1]), 50 * PRIOR_WINDOWS
    covered = 2 * NormalDist(0, error).cdf(score) - 1
    factor = online_factor(np.array([covered * windows]), np.array([windows]))
    steps = stretched(np.array([[NormalDist().inv_cdf(level) for level in LEVELS]]), factor[:, None])
    assert 2 * NormalDist(0, error).cdf(steps[0, -1]) - 1 == pytest.approx(0.8, abs=0.01)
    assert steps[0, 4] == 0


def test_a_few_windows_change_little() -> None:
    """A day without a single hit is no reason to double the width; nothing known is no reason for any change."""
    factor = online_factor(np.array([0.0, 24.0, 0.0]), np.array([24.0, 24.0, 0.0]))
    assert 1.0 < factor[0] < 1.2
    assert 0.9 < factor[1] < 1.0
    assert factor[2] == pytest.approx(1.0)
