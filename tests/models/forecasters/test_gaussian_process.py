"""Gaussian processes: what they learn, what they expect, and that their matrices are those of the book."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.contracts import LEVELS
from models.forecasters.gaussian_process import GaussianProcess
from models.forecasters.kernel_learning import learnt, starts
from models.forecasters.kernels import FREE_LEVEL, JITTER, LENGTHS, STARTS, covariance, posterior
from models.forecasters.scales import SCALES, scaled, unscaled
from models.panel import Panel

SEASON = 12
HOUR_NS = 3_600_000_000_000
MIDDLE = LEVELS.index(0.5)


def panel_of(values: np.ndarray) -> Panel:
    """A panel with one tenant a series."""
    names = tuple(f"s{row}" for row in range(len(values)))
    return Panel(names, names, ("r",) * len(values), values, 0, HOUR_NS, SEASON)


def weekly(windows: int, seed: int) -> np.ndarray:
    """Six series with a season that is half as high on two of seven days, and noise."""
    random = np.random.default_rng(seed)
    time = np.arange(windows)
    size = np.where(time // SEASON % 7 >= 5, 0.5, 1.0)
    shape = size * (10 + 6 * np.sin(2 * np.pi * time / SEASON))
    return shape * np.exp(0.1 * random.standard_normal((6, windows)))


def test_the_posterior_is_that_of_the_book() -> None:
    """Mean and deviation agree with the plain formulas, inverse and all."""
    shares, lengths = (torch.tensor(part, dtype=torch.float64) for part in (STARTS[0], LENGTHS))
    width, horizon = 40, 7
    place = torch.arange(width + horizon)
    full = covariance((place[:, None] - place[None, :]).abs().double(), SEASON, shares, lengths).numpy()
    past = full[:width, :width] + JITTER * np.eye(width)
    mean = full[width:, :width] @ np.linalg.inv(past)
    spread = np.sqrt(np.diag(full[width:, width:] - mean @ full[:width, width:]))
    found = posterior((STARTS[0], LENGTHS), SEASON, width, horizon, width)
    np.testing.assert_allclose(found.mean.numpy(), mean, atol=1e-5)
    np.testing.assert_allclose(found.deviation.numpy(), spread, rtol=1e-4)
    assert found.volume == pytest.approx(np.linalg.slogdet(past)[1], abs=1e-6)
    assert full[0, 0] == pytest.approx(1.0 + FREE_LEVEL)


@pytest.mark.parametrize("scale", SCALES)
def test_scales_lead_back(scale: str) -> None:
    """A series on a scale and back is the series, zeros included; missing values do not move the middle."""
    values = np.array([[0.0, 3.0, np.nan, 7.0], [1e9, 2e9, 0.0, 5e8]])
    part = scaled(values, scale, 4)
    known = np.isfinite(values)
    back = unscaled(torch.as_tensor(part.values), part, scale).numpy()
    np.testing.assert_allclose(back[known], values[known], rtol=1e-9, atol=1e-9)
    assert part.values[0, 2] == 0  # a phase that is never known


def test_a_week_is_learnt() -> None:
    """After four weeks the two quiet days are expected to be quiet."""
    values = weekly(42 * SEASON, seed=1)
    panel = panel_of(values)
    cut = 35 * SEASON
    model = GaussianProcess().fit(panel.until(cut), 7 * SEASON)
    days = model.quantiles(panel.until(cut), 7 * SEASON)[:, :, MIDDLE].reshape(6, 7, SEASON).sum(axis=2)
    assert (days[:, 5:].mean(axis=1) < 0.65 * days[:, :5].mean(axis=1)).all()
    actual = values[:, cut:].reshape(6, 7, SEASON).sum(axis=2)
    assert np.abs(days - actual).mean() < 0.1 * actual.mean()


def test_uncertainty_grows_as_levels_wander() -> None:
    """A series that drifts is less certain in a week than in an hour; one that is noise about a level is not."""
    random = np.random.default_rng(2)
    drifting = 100 * np.exp(np.cumsum(0.05 * random.standard_normal((8, 30 * SEASON)), axis=1))
    noisy = 100 + 10 * random.standard_normal((8, 30 * SEASON))
    grows = []
    for values in (drifting, noisy):
        panel = panel_of(values)
        steps = GaussianProcess().fit(panel, 7 * SEASON).quantiles(panel, 7 * SEASON)
        width = np.log(steps[:, :, -1] / steps[:, :, 0]).mean(axis=0)
        grows.append(width[-SEASON:].mean() / width[0])
    assert grows[0] > 2
    assert grows[1] < 1.3


def test_learning_starts_from_plain_kernels_and_repeats() -> None:
    """Too little data leaves the kernels as they are; enough changes them, always alike."""
    values = weekly(20 * SEASON, seed=3)
    assert learnt(values[:, : SEASON + 3], SEASON) == starts()
    assert learnt(np.full((3, 20 * SEASON), 5.0), SEASON) == starts()
    assert learnt(np.full((3, 20 * SEASON), np.nan), SEASON) == starts()
    found = learnt(values, SEASON)
    assert found != starts()
    assert found == learnt(values, SEASON)
    for shares, _ in found:
        assert sum(shares) == pytest.approx(1.0)


def test_gaps_do_not_matter_much() -> None:
    """A third of the windows missing leaves the forecast near what it was."""
    values = weekly(35 * SEASON, seed=4)
    holes = np.where(np.random.default_rng(5).random(values.shape) < 0.3, np.nan, values)
    model = GaussianProcess().fit(panel_of(values), SEASON)
    whole, gappy = (model.quantiles(panel_of(each), SEASON)[:, :, MIDDLE] for each in (values, holes))
    assert np.abs(gappy / whole - 1).mean() < 0.15


def test_long_seasons_cost_no_more() -> None:
    """Windows of five minutes make seasons of 288; what is factorised stays bounded."""
    random = np.random.default_rng(6)
    values = 10 + random.random((2, 3000))
    names = ("a", "b")
    panel = Panel(names, names, ("r", "r"), values, 0, HOUR_NS // 12, 288)
    steps = GaussianProcess().quantiles(panel, 24)
    assert np.isfinite(steps).all()
    assert np.abs(steps[:, :, MIDDLE] - 10.5).max() < 0.3
