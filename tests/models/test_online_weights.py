"""Weights and widths learnt window by window are those that a look at the whole past gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from models.calibration import online_factor
from models.forecasters.npts import Npts, NptsConfig
from models.forecasters.seasonal_naive import SeasonalNaive
from models.online_weights import OnlineWeights, judged_cuts
from models.panel import Panel

MEMBERS = {"naive": SeasonalNaive(), "near": Npts(), "recent": Npts(NptsConfig(power=3.0))}
HOUR_NS = 3_600_000_000_000


class Asked:
    """Asks the members, and counts the rows they were asked for."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, panel: Panel, horizon: int) -> Callable[[str, np.ndarray], np.ndarray]:
        """As the ensemble does."""

        def ask(name: str, rows: np.ndarray) -> np.ndarray:
            self.rows += len(rows)
            return MEMBERS[name].quantiles(panel.select(rows), horizon)

        return ask


def panel(windows: int, start: int = 7) -> Panel:
    """Five series with a rhythm of 12 windows, one of them with gaps."""
    random = np.random.default_rng(0)
    values = random.gamma(3.0, 1.0, (5, 200)) * (1.5 + np.sin(2 * np.pi * np.arange(200) / 12))
    values[2, random.random(200) < 0.2] = np.nan
    names = tuple("abcde")
    return Panel(names, names, ("cpu",) * 5, values[:, :windows], start * HOUR_NS, HOUR_NS, 12)


@pytest.mark.parametrize("horizon", [3, 15, 60])
def test_learning_online_is_learning_at_once(horizon: int) -> None:
    """Windows that come one by one, two at a time or after a pause give the same losses bit for bit."""
    online = OnlineWeights(tuple(MEMBERS))
    for windows in (60, 61, 62, 63, 65, 66, 80, 81, 83, 84, 85):
        found = online.learn_many(panel(windows), horizon, Asked())
        alone = OnlineWeights(tuple(MEMBERS)).learn_many(panel(windows), horizon, Asked())
        np.testing.assert_array_equal(found.losses, alone.losses)
        np.testing.assert_array_equal(found.inside, alone.inside)
    assert found.losses[:, :-1].min() > 0
    assert (found.inside <= found.losses[:, -1]).all()


def test_a_window_that_ends_asks_nobody() -> None:
    """While the judged origins hold, members are not asked again; where they move on, all are, from both."""
    online, asked = OnlineWeights(tuple(MEMBERS)), Asked()
    online.learn_many(panel(83), 60, asked)
    at_first = asked.rows
    assert judged_cuts(panel(83)) == judged_cuts(panel(84)) != judged_cuts(panel(85))
    online.learn_many(panel(84), 60, asked)
    assert asked.rows == at_first == 2 * len(MEMBERS) * 5
    online.learn_many(panel(85), 60, asked)
    assert asked.rows == 2 * at_first


def test_a_series_whose_past_was_revised_is_judged_anew() -> None:
    """Usage that is entered late changes the weights of its own series, at the cost of that series alone."""
    online, asked = OnlineWeights(tuple(MEMBERS)), Asked()
    online.learn_many(panel(83), 60, asked)
    at_first = asked.rows
    values = panel(84).values.copy()
    values[3, 70] *= 9
    revised = replace(panel(84), values=values)
    found = online.learn_many(revised, 60, asked)
    assert asked.rows - at_first == 2 * len(MEMBERS)
    alone = OnlineWeights(tuple(MEMBERS)).learn_many(revised, 60, Asked())
    np.testing.assert_array_equal(found.losses, alone.losses)
    np.testing.assert_array_equal(found.inside, alone.inside)


def test_nothing_after_a_window_counts() -> None:
    """The future permuted leaves losses as they are."""
    whole = panel(120)
    mixed = whole.values.copy()
    mixed[:, 84:] = mixed[:, :83:-1]
    told = [
        OnlineWeights(tuple(MEMBERS)).learn_many(one.until(84), 60, Asked())
        for one in (whole, replace(whole, values=mixed))
    ]
    np.testing.assert_array_equal(told[0].losses, told[1].losses)
    np.testing.assert_array_equal(told[0].inside, told[1].inside)


def test_too_short_a_past_judges_nobody() -> None:
    """Without a season behind the origin there are no losses, and the priors decide."""
    found = OnlineWeights(tuple(MEMBERS)).learn_many(panel(10), 60, Asked())
    assert (found.losses == 0).all()
    assert (found.inside == 0).all()
    np.testing.assert_allclose(online_factor(found.inside, found.losses[:, -1]), 1.0)


def test_a_series_whose_errors_have_grown_gets_wider_and_only_that_one() -> None:
    """Where the mixture missed what came, the next forecast is wider; where it covered more than promised, less."""
    wild = panel(84)
    values = wild.values.copy()
    values[1, 60:] *= np.random.default_rng(1).choice([0.01, 30.0], 24)
    values[4] = 5.0
    before, after = (
        OnlineWeights(tuple(MEMBERS)).learn_many(one, 60, Asked()) for one in (wild, replace(wild, values=values))
    )
    factor, calm = (online_factor(found.inside, found.losses[:, -1]) for found in (after, before))
    assert factor[1] > 1.05
    assert factor[4] < 0.97
    np.testing.assert_array_equal(factor[[0, 2, 3]], calm[[0, 2, 3]])
