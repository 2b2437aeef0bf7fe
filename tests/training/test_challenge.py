"""A champion is replaced by what is better, not by what was lucky."""

from __future__ import annotations

import numpy as np
import pytest

from models.contracts import LEVELS, Forecast
from models.panel import Panel
from training.challenge import challenge
from training.metrics import accuracy

HORIZON, CUTS = 6, (48, 54)
RANDOM = np.random.default_rng(5)


def _panel(series: int) -> Panel:
    names = tuple(f"s{row}" for row in range(series))
    values = 20 + RANDOM.normal(0, 2, (series, 60))
    values[0, 50] = np.nan
    return Panel(names, names, ("cpu_cycles",) * series, values, 0, 3_600_000_000_000, 6)


def _forecasts(panel: Panel, errors: np.ndarray) -> list[Forecast]:
    """Forecasts that miss each series by its own constant."""
    made = []
    for cut in CUTS:
        middle = np.nan_to_num(panel.values[:, cut : cut + HORIZON], nan=20.0) + errors[:, None]
        steps = middle[:, :, None] + 3 * (np.asarray(LEVELS) - 0.5)
        made.append(Forecast(LEVELS, steps, steps.sum(axis=1)))
    return made


@pytest.mark.parametrize("metric", ["wql", "mase", "bill_wape"])
def test_the_figures_are_those_of_the_backtest(metric: str) -> None:
    """Both sides are judged by the very metric that training reports."""
    panel = _panel(8)
    if metric == "bill_wape":
        panel = Panel(
            panel.series, panel.tenants, panel.resources, np.nan_to_num(panel.values), 0, panel.window_ns, panel.season
        )
    old, new = _forecasts(panel, np.full(8, 4.0)), _forecasts(panel, np.full(8, 1.0))
    found = challenge(panel, CUTS, old, new, metric)
    pasts = [panel.values[:, :cut] for cut in CUTS]
    actuals = [panel.values[:, cut : cut + HORIZON] for cut in CUTS]
    for value, forecasts in ((found.champion, old), (found.challenger, new)):
        expected = accuracy(pasts, actuals, forecasts, panel.season).document()[metric]
        assert value == pytest.approx(expected)


def test_a_better_model_is_found_better() -> None:
    """Where every series gains, no draw says otherwise."""
    panel = _panel(8)
    found = challenge(panel, CUTS, _forecasts(panel, np.full(8, 4.0)), _forecasts(panel, np.full(8, 1.0)), "wql")
    assert found.challenger < found.champion
    assert found.certainty == 1.0


def test_one_lucky_series_is_not_enough() -> None:
    """A lead that rests on one series of many, while the others lose a little, is not certain."""
    panel = _panel(20)
    old, new = np.full(20, 3.0), np.full(20, 3.3)
    old[0], new[0] = 30.0, 3.0
    found = challenge(panel, CUTS, _forecasts(panel, old), _forecasts(panel, new), "wql")
    assert found.challenger < found.champion
    assert found.certainty < 0.95


def test_the_same_model_is_not_better() -> None:
    """A champion is not replaced by itself."""
    panel = _panel(3)
    same = _forecasts(panel, np.full(3, 2.0))
    assert challenge(panel, CUTS, same, same, "mase").certainty == 0.0
