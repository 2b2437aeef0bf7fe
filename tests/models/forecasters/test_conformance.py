"""What every forecaster of the registry promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.bundle import BundleError, load, save
from models.contracts import LEVELS, Forecaster
from models.forecasters.lstm import Lstm, LstmConfig, NotTrainedError
from models.forecasters.registry import FORECASTERS
from models.panel import Panel
from training.fit import fit_forecaster

HORIZON = 12
CONFIG = LstmConfig(hidden=8, context_seasons=2, batch_size=16, steps=8)


def make_panel(windows: int = 72, seed: int = 0) -> Panel:
    """Series of several kinds: seasonal, noisy, constant, idle, switched off, sparse, with gaps, huge."""
    random = np.random.default_rng(seed)
    time = np.arange(windows)
    rows = np.stack(
        [
            10 + 5 * np.sin(2 * np.pi * time / 12) + random.random(windows),
            random.gamma(2.0, 3.0, windows),
            np.full(windows, 4.0),
            np.zeros(windows),
            np.where(time < windows // 2, 8.0 + random.random(windows), 0.0),
            np.where(random.random(windows) < 0.1, 20.0, 0.0),
            np.where(random.random(windows) < 0.2, np.nan, 3 + random.random(windows)),
            1e15 * (1 + random.random(windows)),
        ]
    )
    names = tuple(f"u{row % 2}|op|CPU_INSTRUCTION|r{row}" for row in range(len(rows)))
    tenants = tuple(f"u{row % 2}" for row in range(len(rows)))
    return Panel(names, tenants, ("cpu_cycles",) * len(rows), rows, 0, 3_600_000_000_000, 12)


@pytest.fixture(scope="module", params=list(FORECASTERS))
def fitted(request: pytest.FixtureRequest) -> Forecaster:
    """Each forecaster, fitted."""
    return fit_forecaster(request.param, make_panel(), HORIZON, CONFIG)


def test_quantiles_are_finite_and_rise(fitted: Forecaster) -> None:
    """Whatever the series, a forecast can be priced."""
    forecast = fitted.forecast(make_panel(), HORIZON)
    assert forecast.steps.shape == (8, HORIZON, len(LEVELS))
    assert forecast.totals.shape == (8, len(LEVELS))
    for values in (forecast.steps, forecast.totals):
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        assert (np.diff(values, axis=-1) >= 0).all()


def test_the_future_changes_nothing(fitted: Forecaster) -> None:
    """Permuting every window after the cut leaves the forecast as it was."""
    panel, cut = make_panel(), 60
    shuffled = panel.values.copy()
    shuffled[:, cut:] = np.random.default_rng(1).permuted(shuffled[:, cut:], axis=1) * 7
    other = Panel(panel.series, panel.tenants, panel.resources, shuffled, panel.start_ns, panel.window_ns, panel.season)
    ours, theirs = (fitted.forecast(one.until(cut), HORIZON) for one in (panel, other))
    np.testing.assert_array_equal(ours.steps, theirs.steps)
    np.testing.assert_array_equal(ours.totals, theirs.totals)


def test_fitting_sees_only_its_panel() -> None:
    """Models fitted before a cut are the same whatever comes after it."""
    panel = make_panel()
    other = panel.values.copy()
    other[:, 60:] = 999.0
    changed = Panel(panel.series, panel.tenants, panel.resources, other, panel.start_ns, panel.window_ns, panel.season)
    for name in FORECASTERS:
        one, two = (fit_forecaster(name, each.until(60), HORIZON, CONFIG).state() for each in (panel, changed))
        assert one.document == two.document
        for key, value in one.arrays.items():
            np.testing.assert_array_equal(value, two.arrays[key])


def test_paths_agree_with_the_quantiles(fitted: Forecaster) -> None:
    """Half of many sample futures lie below the median of a step, and the seed decides them."""
    panel = make_panel()
    paths = fitted.paths(panel, HORIZON, 600, seed=3)
    assert paths.shape == (600, 8, HORIZON)
    assert (paths >= 0).all()
    assert np.isfinite(paths).all()
    np.testing.assert_array_equal(paths, fitted.paths(panel, HORIZON, 600, seed=3))
    median = fitted.forecast(panel, HORIZON).steps[0, :, LEVELS.index(0.5)]
    share = (paths[:, 0] <= median).mean()
    assert 0.4 < share < 0.6


def test_bundles_keep_the_forecast(fitted: Forecaster, tmp_path: Path) -> None:
    """A model that was saved and loaded forecasts the same, bit for bit."""
    save(fitted, tmp_path / "bundle", {"version": "7"})
    loaded, metadata = load(tmp_path / "bundle")
    assert metadata == {"version": "7"}
    before, after = (model.forecast(make_panel(), HORIZON) for model in (fitted, loaded))
    np.testing.assert_array_equal(before.steps, after.steps)
    np.testing.assert_array_equal(before.totals, after.totals)


def test_new_series_of_a_handful_of_windows(fitted: Forecaster) -> None:
    """A user of five windows gets a forecast, not an error."""
    forecast = fitted.forecast(make_panel().until(5), HORIZON)
    assert np.isfinite(forecast.steps).all()


def test_a_longer_horizon_than_trained(fitted: Forecaster) -> None:
    """A period that ends further away than the model was trained for is forecast as well."""
    assert fitted.forecast(make_panel(), 3 * HORIZON + 1).steps.shape[1] == 3 * HORIZON + 1


def test_idle_series_stay_idle(fitted: Forecaster) -> None:
    """What was never used is not billed ahead."""
    if fitted.name == "lstm":
        pytest.skip("eight steps of training are no measure of the network")
    assert fitted.forecast(make_panel(), HORIZON).steps[3].max() == 0


def test_damaged_bundles_are_refused(tmp_path: Path) -> None:
    """A flipped byte is found before it becomes a bill."""
    directory = tmp_path / "bundle"
    save(FORECASTERS["seasonal-naive"](), directory, {})
    with (directory / "arrays.npz").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="checksum"):
        load(directory)
    (directory / "bundle.json").write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        load(directory)
    with pytest.raises(BundleError, match=r"has no bundle\.json"):
        load(tmp_path / "nothing")


def test_untrained_networks_say_so() -> None:
    """The message says which command trains."""
    with pytest.raises(NotTrainedError, match="metercast train"):
        Lstm().forecast(make_panel(), 3)
