"""What is compiled gives what its twin in Python gives, and refuses arrays that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models import dependence, mixing, past_sums, paths, quantiles, regimes, totals, weighted
from models.contracts import LEVELS
from models.dependence import Dependence
from models.forecasters import (
    gaussian_process,
    lstm_candidates,
    lstm_data,
    lstm_inference,
    markov,
    markov_chances,
    markov_states,
)
from models.forecasters.lstm_network import CANDIDATES, STEP_FEATURES, TRAITS, LstmNetwork
from models.panel import Panel

pytestmark = pytest.mark.skipif(weighted._kernels is None, reason="models._kernels was not compiled")


def test_weighted_quantiles_are_those_of_the_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ties, missing values, an empty series and a number of kinds that fills no whole lane included."""
    random = np.random.default_rng(0)
    past = random.gamma(1.0, 5.0, (6, 150)).round(1)
    past[random.random(past.shape) < 0.2] = np.nan
    past[1] = np.where(random.random(150) < 0.9, 0.0, 7.0)
    past[2] = np.nan
    past[3] = 4.0
    weights = np.rint(random.random((21, 150)) ** 4 * 1000).astype(np.float32)
    bins = weighted.binned(past)
    compiled = weighted.weighted_quantiles(bins, weights)
    monkeypatch.setattr(weighted, "_kernels", None)
    for ours, theirs in zip(bins, weighted.binned(past), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(compiled, weighted.weighted_quantiles(bins, weights))


@pytest.mark.parametrize("members", [2, 3, 4, 7])
def test_a_mixture_is_that_of_the_twin(members: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with ties and zeros, with windows that fill no lane, and where a member has no weight and no place."""
    random = np.random.default_rng(1)
    parts = [np.sort(random.gamma(1.0, 3.0, (5, 21, len(LEVELS))).round(1), axis=2) for _ in range(members)]
    parts[0][:, 3] = parts[1][:, 3] = 0.0
    weights = random.dirichlet(np.ones(members), 8)
    weights[2:5, 1] = 0.0
    weights[6] = np.eye(members)[-1]
    weights /= weights.sum(axis=1, keepdims=True)
    places = np.stack(np.broadcast_arrays(np.arange(members), random.integers(0, 5, (8, members))), axis=2)
    places[2:5, 1] = -7
    compiled = mixing.mixture(parts, places, weights, 21)
    monkeypatch.setattr(mixing, "_kernels", None)
    np.testing.assert_allclose(compiled, mixing.mixture(parts, places, weights, 21), atol=1e-9)


def test_paths_are_those_of_the_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tails, idle series and several tenants included."""
    random = np.random.default_rng(2)
    steps = np.sort(random.gamma(1.0, 3.0, (5, 7, len(LEVELS))), axis=2)
    steps[3] = 0.0
    asked = (steps, Dependence(0.3, 0.6, 0.2), ("b", "a", "b", "c", "a"), 301, 9)
    compiled = paths.sample_paths(*asked)
    monkeypatch.setattr(paths, "_kernels", None)
    np.testing.assert_allclose(compiled, paths.sample_paths(*asked), rtol=1e-6, atol=1e-9)


def test_small_kernels_are_those_of_their_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantiles put in order, read off points, and their losses, with what is not finite among them."""
    random = np.random.default_rng(3)
    loose = random.normal(1.0, 2.0, (4, 6, len(LEVELS)))
    loose[0, 0, 2:5] = [np.nan, np.inf, -np.inf]
    values, kinds = np.sort(random.random((4, 11)).round(1), axis=1), np.array([[0, 1] * 5 + [2]] * 4, dtype=np.uint8)
    moving, still = random.dirichlet(np.ones(2), (4, 21)), random.random((4, 21))
    actual = np.where(random.random((4, 6)) < 0.2, np.nan, random.gamma(1.0, 2.0, (4, 6)))

    def all_three() -> list[np.ndarray]:
        tidied = quantiles.tidy(loose)
        return [
            tidied,
            quantiles.point_quantiles(values, kinds, moving, still, 1 / 5),
            mixing.with_losses(np.ones(4), tidied, actual),
        ]

    compiled = all_three()
    for module in (quantiles, mixing):
        monkeypatch.setattr(module, "_kernels", None)
    for ours, theirs in zip(compiled, all_three(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize(("windows", "horizon"), [(200, 30), (100, 60), (40, 7), (7, 3)])
def test_sums_are_those_of_the_twins(windows: int, horizon: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of steps, of stretches of the past and of what then came, with gaps and series of which nothing is known."""
    random = np.random.default_rng(8)
    past = random.gamma(2.0, 3.0, (5, windows))
    past[1, ::3], past[2], past[3, : windows // 2], past[4, ::12] = np.nan, np.nan, np.nan, np.nan
    steps = np.sort(random.gamma(1.0, 3.0, (5, horizon, len(LEVELS))), axis=2)
    steps[3] = 0.0

    def all_of_them() -> list[np.ndarray]:
        sums = past_sums.past_sums(past, 12, horizon, totals.stretches(12, horizon))
        level = totals.level_opinions(past, 12, horizon)
        return [level, sums.errors, sums.squared, sums.horizons, dependence.total_quantiles(steps, Dependence())]

    compiled = all_of_them()
    for module in (past_sums, totals, dependence):
        monkeypatch.setattr(module, "_kernels", None)
    for ours, theirs in zip(compiled, all_of_them(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_spells_are_those_of_the_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standing still, and how long of it was unusual: nights that come again, gaps, and one that does not end."""
    random = np.random.default_rng(10)
    values = np.where(np.arange(200) % 12 < 5, 0.0, random.gamma(2.0, 3.0, (6, 200)).round())
    values[1, ::7], values[2, 120:], values[3, 60:90] = np.nan, 0.0, 4.0
    values[4] = np.where(random.random(200) < 0.4, 0.0, values[4])
    for season in (12, 1, 24, 96):
        compiled = markov_states.standing(values), markov_states.unusual(values, season)
        with monkeypatch.context() as patch:
            patch.setattr(markov_states, "_kernels", None)
            twins = markov_states.standing(values), markov_states.unusual(values, season)
        for ours, theirs in zip(compiled, twins, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_regime_is_that_of_the_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the chance, below, between and above what the quantiles say."""
    random = np.random.default_rng(9)
    steps = np.sort(random.gamma(1.0, 3.0, (8, 20, len(LEVELS))).round(), axis=2)
    chance = np.where(random.random((8, 20)) < 0.2, 0.0, random.random((8, 20)))
    chance[:2] = np.array([[0.0], [1.0]])
    value = np.array([1.0, 2.0, 0.0, 3.0, 50.0, 0.5, 2.0, 9.0])
    compiled = regimes.with_regime(steps, chance, value)
    monkeypatch.setattr(regimes, "_kernels", None)
    np.testing.assert_allclose(compiled, regimes.with_regime(steps, chance, value), rtol=1e-9)


@pytest.mark.parametrize("windows", [3, 10, 200])
def test_chains_are_those_of_the_twin(windows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also over less than a season of past, and further ahead than a season."""
    random = np.random.default_rng(5)
    past = random.gamma(2.0, 3.0, (3, windows)).round()
    past[1, ::3] = np.nan
    names = ("a", "b", "c")
    panel = Panel(names, names, names, past, 0, 3_600_000_000_000, 12)
    past[2, -15:] = 4.0
    compiled = markov.Markov().quantiles(panel, 30)
    for module in (markov_chances, markov_states, quantiles):
        monkeypatch.setattr(module, "_kernels", None)
    np.testing.assert_allclose(compiled, markov.Markov().quantiles(panel, 30), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("context", "season", "windows"), [(168, 24, 672), (100, 24, 300), (20, 24, 50), (12, 24, 15)])
def test_examples_are_those_of_the_twin(
    context: int, season: int, windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, or a network would be trained on something else: gaps, idle series, no whole season, any cut."""
    random = np.random.default_rng(6)
    values = random.gamma(2.0, 3.0, (6, windows)) * (random.random((6, windows)) < 0.9)
    values[1, ::3], values[2], values[3], values[4, : windows // 2] = np.nan, np.nan, 7.0, np.nan
    names = tuple("abcdef")
    panel = Panel(names, names, names, values, 0, 3_600_000_000_000, season)
    shape, rows = lstm_data.Shape(context, 30, 4, season), np.arange(6)
    cuts = (np.full(6, windows), random.integers(3, windows, 6))
    compiled = [lstm_data.examples(panel, rows, cut, shape) for cut in cuts]
    monkeypatch.setattr(lstm_data, "_kernels", None)
    monkeypatch.setattr(lstm_candidates, "_kernels", None)
    for ours, cut in zip(compiled, cuts, strict=True):
        theirs = lstm_data.examples(panel, rows, cut, shape)
        for one, other in zip((*ours.seen, *ours[1:]), (*theirs.seen, *theirs[1:]), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("windows", "horizon"), [(400, 60), (30, 60), (5, 7)])
def test_gaussian_processes_are_those_of_the_twin(windows: int, horizon: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With gaps, a phase and a series of which nothing is known, and series that are idle or never moved."""
    random = np.random.default_rng(7)
    past = random.gamma(2.0, 3.0, (7, windows)) * 10.0 ** random.integers(-3, 9, (7, 1))
    past[1, random.random(windows) < 0.3], past[2, ::12], past[3], past[4] = np.nan, np.nan, np.nan, 7.0
    past[5, random.random(windows) < 0.9] = 0.0
    names = tuple("abcdefg")
    panel = Panel(names, names, names, past, 0, 3_600_000_000_000, 12)
    compiled = gaussian_process.GaussianProcess().quantiles(panel, horizon)
    monkeypatch.setattr(gaussian_process, "_kernels", None)
    twin = gaussian_process.GaussianProcess().quantiles(panel, horizon)
    size = np.abs(twin).mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(compiled / (size + 1e-12), twin / (size + 1e-12), atol=3e-5)


def test_arrays_that_do_not_fit_are_refused() -> None:
    """A wrong call raises and writes nowhere."""
    out = np.empty((1, 2, 9))
    parts, places = (np.zeros((1, 2, 9)), np.zeros((1, 2, 9))), np.zeros((1, 2, 2), np.int64)
    with pytest.raises(ValueError, match=r"weights has 24 bytes"):
        weighted._kernels.mixture(parts, places, np.ones((1, 3)), out, 1, 2, 2, 9)
    with pytest.raises(ValueError, match="a place that is not a row"):
        weighted._kernels.mixture(parts, places + 1, np.ones((1, 2)), out, 1, 2, 2, 9)
    bins, points, weights = np.full((1, 4), 9, np.uint8), np.zeros((1, 3)), np.ones((2, 4), np.float32)
    with pytest.raises(ValueError, match="a bin above 3"):
        weighted._kernels.weighted_quantiles(bins, points, weights, np.asarray(LEVELS), out, 1, 4, 2, 3)


def test_a_network_computes_what_torch_computes() -> None:
    """The LSTM's forward pass in compiled parts: all inputs wild, a batch that fills no block, labels and events."""
    torch.manual_seed(4)
    network = LstmNetwork(4, 64, 1, (3, 0, 2), planned=1).eval()
    context = torch.stack([torch.randn(37, 24) * 3, (torch.rand(37, 24) < 0.8).float()], dim=2)
    steps, traits = torch.randn(37, 50, CANDIDATES + STEP_FEATURES + 1) * 4, torch.randn(37, TRAITS)
    inputs = (context, steps, traits, torch.randint(0, 3, (37, 3)) % torch.tensor([4, 1, 3]))
    weights = lstm_inference.prepared(network)
    assert weights is not None
    with torch.inference_mode():
        for ours, theirs in zip(
            lstm_inference.outputs(network, weights, inputs),
            lstm_inference.outputs(network, None, inputs),
            strict=True,
        ):
            np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=2e-5, atol=2e-5)


def test_forecasts_go_back_to_the_scale_of_their_series(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rising and never negative, as the twin puts them."""
    random = np.random.default_rng(5)
    values = torch.as_tensor(random.normal(0.0, 1.0, (6, 4, len(LEVELS))), dtype=torch.float32)
    scale, level = random.gamma(2.0, 3.0, (6, 1)), random.normal(2.0, 1.0, (6, 1))
    compiled = lstm_inference.restored(values, scale, level)
    monkeypatch.setattr(lstm_inference, "IS_COMPILED", False)
    monkeypatch.setattr(quantiles, "_kernels", None)
    np.testing.assert_allclose(compiled, lstm_inference.restored(values, scale, level), rtol=1e-12)
