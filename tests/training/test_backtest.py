"""Backtests stand at past moments and do not look ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.forecasters.lstm import LstmConfig
from models.forecasters.registry import FORECASTERS
from models.panel import Panel
from models.planned import NEVER_NS, Event, Planned
from tests.models.forecasters.test_conformance import make_panel
from training.backtest import backtest, rolling_cuts
from training.fit import fit_forecaster

TOLD_OF_PLANS = ("lstm", "ensemble")
"""Models that planned events are an input of; the others do without."""

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


@pytest.mark.parametrize("name", list(FORECASTERS))
def test_plans_made_after_an_origin_never_enter(name: str) -> None:
    """What is entered or taken out after an origin changes no forecast from it; what came earlier does, where used."""
    cuts = (48, 60)
    known = [_event("*", 30, 33, 20), _event("u0", 61, 64, 40)]
    before = _planned_backtest(name, cuts, known)
    after_first = _planned_backtest(name, cuts, [*known, _event("u1", 61, 66, 50)])
    later = [_event("*", 49, 56, 61), _event("u1", 62, 70, 70), _event("u0", 61, 64, 40, removed=61)]
    after_last = _planned_backtest(name, cuts, [known[0], *later])
    for one, other in zip(before, after_last, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(before[0], after_first[0])
    assert np.array_equal(before[1], after_first[1]) is (name not in TOLD_OF_PLANS)


def _event(user: str, start: int, end: int, entered: int, removed: int | None = None) -> Event:
    hour = 3_600_000_000_000
    return user, "*", start * hour, end * hour, entered * hour, NEVER_NS if removed is None else removed * hour


def _planned_backtest(name: str, cuts: tuple[int, ...], events: list[Event]) -> list[np.ndarray]:
    """Steps and totals side by side, of each origin."""
    panel = make_panel()
    panel = replace(panel, planned=Planned.of_events(events, panel.series))
    found = backtest(lambda past, horizon: fit_forecaster(name, past, horizon, CONFIG), panel, cuts, 12)
    return [np.concatenate([one.steps, one.totals[:, None]], axis=1) for one in found.forecasts]


def test_origins_leave_a_horizon_of_actuals() -> None:
    """The last origin's horizon ends with the data."""
    assert rolling_cuts(100, 10, 3) == (70, 80, 90)
    assert rolling_cuts(100, 10, 3, stride=5) == (80, 85, 90)
    with pytest.raises(ValueError, match="too few for 9 origins"):
        rolling_cuts(100, 10, 9)
