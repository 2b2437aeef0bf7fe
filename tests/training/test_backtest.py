"""Backtests stand at past moments and do not look ahead."""

from __future__ import annotations

import numpy as np
import pytest

from models.forecasters.lstm import LstmConfig
from models.forecasters.registry import FORECASTERS
from models.panel import Panel
from tests.models.forecasters.test_conformance import make_panel
from training.backtest import backtest, rolling_cuts
from training.fit import fit_forecaster

CONFIG = LstmConfig(hidden=8, context_seasons=2, batch_size=16, steps=5)


@pytest.mark.parametrize("name", list(FORECASTERS))
def test_what_comes_after_an_origin_never_enters(name: str) -> None:
    """Permuting the windows after the last origin changes no forecast; after the first, not the first one's."""
    panel, cuts = make_panel(), (48, 60)
    for kept, same in ((60, 2), (48, 1)):
        values = panel.values.copy()
        values[:, kept:] = np.random.default_rng(2).permuted(values[:, kept:], axis=1) + 5
        changed = Panel(
            panel.series, panel.tenants, panel.resources, values, panel.start_ns, panel.window_ns, panel.season
        )
        runs = [
            backtest(lambda part, horizon: fit_forecaster(name, part, horizon, CONFIG), one, cuts, 12)
            for one in (panel, changed)
        ]
        for before, after in list(zip(runs[0].forecasts, runs[1].forecasts, strict=True))[:same]:
            np.testing.assert_array_equal(before.steps, after.steps)
            np.testing.assert_array_equal(before.totals, after.totals)


def test_origins_leave_a_horizon_of_actuals() -> None:
    """The last origin's horizon ends with the data."""
    assert rolling_cuts(100, 10, 3) == (70, 80, 90)
    assert rolling_cuts(100, 10, 3, stride=5) == (80, 85, 90)
    with pytest.raises(ValueError, match="too few for 9 origins"):
        rolling_cuts(100, 10, 9)
