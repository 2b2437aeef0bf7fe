"""How long the LSTM is trained, and what it is told of the series' own past."""

from __future__ import annotations

import numpy as np

from models.forecasters.lstm import LstmConfig, steps_for
from models.forecasters.lstm_candidates import candidates
from models.forecasters.lstm_network import CANDIDATES
from models.panel import Panel


def panel_of(series: int, windows: int) -> Panel:
    """A panel of ones."""
    names = tuple(f"s{row}" for row in range(series))
    return Panel(names, names, ("r",) * series, np.ones((series, windows)), 0, 3_600_000_000_000, 24)


def test_few_short_series_are_not_learnt_by_heart() -> None:
    """A small panel ends the training early, a large one after the steps that were asked for."""
    config = LstmConfig(steps=600, passes=2.0)
    assert steps_for(panel_of(7, 400), config, 28) == 200
    assert steps_for(panel_of(1000, 700), config, 256) == 600
    assert steps_for(panel_of(1, 48), config, 16) == 100
    assert steps_for(panel_of(1, 48), LstmConfig(steps=30), 16) == 30


def test_guesses_follow_their_own_past_alone() -> None:
    """There are as many guesses as the network takes; each is finite and scales with the series."""
    random = np.random.default_rng(0)
    past = random.standard_normal((3, 24 * 28))
    past[1, ::3] = np.nan
    past[2] = np.nan
    guesses = candidates(past, 24 * 7, 24, 30)
    assert guesses.shape == (3, 30, CANDIDATES + 1)
    assert np.isfinite(guesses).all()
    doubled = candidates(2 * past[:1], 24 * 7, 24, 30)
    np.testing.assert_allclose(doubled, 2 * guesses[:1], atol=1e-4)
