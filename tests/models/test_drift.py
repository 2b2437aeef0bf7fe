"""Drift is told where accuracy fell by more than chance, and only then."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.drift import FEWEST, MARGIN, judge, live_cuts, live_losses, reach_of
from models.forecasters.markov import Markov
from models.panel import Panel

REFERENCE = 0.5


def _losses(series: int, mean: float, origins: int = 7) -> np.ndarray:
    """Losses that scatter around a mean, as those of real series do."""
    return np.random.default_rng(5).gamma(4.0, mean / 4.0, (origins, series))


@pytest.mark.parametrize("series", [2, 40])
def test_a_loss_that_rose_is_drift(series: int) -> None:
    """Twice the backtest's loss is told, of few series and of many."""
    found = judge(_losses(series, 2 * REFERENCE), REFERENCE)
    assert found.status == "drifted"
    assert "retraining is worth it" in found.told
    assert found.loss == pytest.approx(2 * REFERENCE, rel=0.3)


@pytest.mark.parametrize("series", [2, 40])
def test_chance_and_season_are_no_drift(series: int) -> None:
    """The same loss, or one within the margin, is not told, however it scatters."""
    for factor in (0.8, 1.0, 1.0 + MARGIN / 2):
        assert judge(_losses(series, factor * REFERENCE), REFERENCE).status == "steady"


def test_one_wild_series_is_no_drift_of_the_model() -> None:
    """A single customer whose usage exploded does not condemn a model that serves the others well."""
    losses = _losses(40, 0.9 * REFERENCE)
    losses[:, 3] = 40 * REFERENCE
    found = judge(losses, REFERENCE)
    assert found.loss is not None
    assert found.loss > (1 + MARGIN) * REFERENCE
    assert found.status == "steady"


def test_nothing_is_said_too_early() -> None:
    """With few origins, or without a reference, there is no verdict; missing losses do not count as origins."""
    assert judge(_losses(40, 9.0, FEWEST - 1), REFERENCE).status == "waiting"
    assert judge(np.vstack([_losses(40, 9.0, FEWEST - 1), np.full((4, 40), np.nan)]), REFERENCE).status == "waiting"
    assert judge(np.empty((0, 0)), REFERENCE).status == "waiting"
    assert judge(_losses(40, 9.0), None).status == "unknown"


def test_only_what_came_after_training_is_measured() -> None:
    """Origins begin where training ended, lie a season apart, and their windows have all come."""
    random = np.random.default_rng(0)
    names = tuple(f"s{row}" for row in range(4))
    panel = Panel(names, names, ("cpu",) * 4, random.random((4, 60)), 0, 1_000_000_000, 6)
    metadata = {"season": 6, "horizon": 24, "trained_until": "1970-01-01T00:00:30+00:00"}
    assert reach_of(metadata) == 6
    cuts = list(live_cuts(panel, metadata))
    assert cuts == [30, 36, 42, 48, 54]
    model = Markov().fit(panel.until(30), 6)
    before = live_losses(model, panel, 30, 6)
    values = panel.values.copy()
    values[:, 36:] = 99.0
    np.testing.assert_array_equal(before, live_losses(model, replace(panel, values=values), 30, 6))
