"""A service that has stopped may come back: what the Markov model says of it stays uncertain while that is likely."""

from __future__ import annotations

import numpy as np

from models.forecasters.markov import Markov
from models.panel import Panel

DAY, WEEK = 24, 168
MIDDLE = 4


def stopped(silent: int, series: int = 3, days: int = 14) -> Panel:
    """Daily rhythms of one user that all stop at once, so many windows ago."""
    random = np.random.default_rng(0)
    time = np.arange(days * DAY)
    busy = [
        (10 + 5 * np.sin(2 * np.pi * time / DAY + row)) * random.gamma(20, 1 / 20, len(time)) for row in range(series)
    ]
    values = np.concatenate([np.stack(busy), np.zeros((series, silent))], axis=1)
    names = tuple(f"acme|op|CPU_INSTRUCTION|r{row}" for row in range(series))
    return Panel(names, ("acme",) * series, ("cpu_cycles",) * series, values, 0, 3_600_000_000_000, DAY)


def test_silence_lowers_the_forecast_without_ending_the_doubt() -> None:
    """The longer nothing comes the less is expected, but after days of it a return is still within P10 to P90."""
    bills = []
    for silent in (0, DAY, 2 * DAY, 4 * DAY):
        panel = stopped(silent)
        totals = Markov().fit(panel, WEEK).forecast(panel, WEEK).totals[0]
        assert totals[0] < totals[-1], f"a point after {silent} silent windows"
        bills.append(totals[MIDDLE])
    assert bills == sorted(bills, reverse=True)


def test_a_return_is_to_what_it_did_before() -> None:
    """Paths on which the service comes back have the level it had, and the others are nothing at all."""
    panel = stopped(3 * DAY)
    bills = Markov().fit(panel, WEEK).paths(panel, WEEK, 400, seed=1).sum(axis=(1, 2))
    usual = panel.values[:, :WEEK].sum()
    assert 0.1 < (bills == 0).mean() < 0.9
    assert 0.5 * usual < np.quantile(bills, 0.99) < 1.5 * usual


def test_what_stopped_together_comes_back_together() -> None:
    """One cause stopped all series of the user: hardly a path has some of them back within a day and others not."""
    panel = stopped(3 * DAY)
    is_silent = Markov().fit(panel, WEEK).paths(panel, WEEK, 200, seed=1)[:, :, :DAY].sum(axis=2) == 0
    assert 0.1 < is_silent.mean() < 0.99
    assert (is_silent.all(axis=1) != is_silent.any(axis=1)).mean() < 0.05


def test_where_nothing_ever_came_back_little_is_billed() -> None:
    """Many series that stopped for weeks and stayed so teach that a stop is an end: data decide, not the prior."""
    panel = stopped(20 * DAY, series=40)
    separate = Panel(
        panel.series, tuple(f"t{row}" for row in range(40)), panel.resources, panel.values, 0, panel.window_ns, DAY
    )
    totals = Markov().fit(separate, WEEK).forecast(separate, WEEK).totals
    assert (totals[:, -1] < 0.1 * panel.values[:, :WEEK].sum(axis=1)).all()
