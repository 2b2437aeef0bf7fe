"""Series that switch between two levels are told from those that rise and fall, rest or burst."""

from __future__ import annotations

import numpy as np

from models.switching import switching


def test_idle_or_busy_is_switching_and_nothing_else_is() -> None:
    """Machines of a cluster switch; a daily rhythm, rare bursts, noise, a constant and an empty series do not."""
    random, hours = np.random.default_rng(3), np.arange(24 * 28)
    busy = np.repeat(random.random(len(hours) // 8) < 0.4, 8)
    cluster = np.where(busy, 21_000.0, 40.0) * random.normal(1, 0.02, len(hours))
    rhythm = 10 + 5 * np.sin(2 * np.pi * hours / 24)
    bursts = np.where(random.random(len(hours)) < 0.03, 100.0, 1.0)
    noise = random.gamma(3, 2, len(hours))
    known = np.where(random.random(len(hours)) < 0.3, np.nan, cluster)
    values = np.stack([cluster, known, rhythm, bursts, noise, np.full(len(hours), 3.0), np.full(len(hours), np.nan)])
    np.testing.assert_array_equal(switching(values, 24), [True, True, False, False, False, False, False])


def test_size_and_unit_do_not_matter() -> None:
    """The same series in bytes and in terabytes, and over a base load, is of the same kind."""
    values = np.tile([0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0], (1, 40))
    assert switching(np.concatenate([values, values * 1e12, values * 1e-9 + 5]), 24).all()


def test_day_and_night_are_no_switching_but_shifts_at_any_hour_are() -> None:
    """A shop open from eight to six goes by the clock; a machine that is busy for ten hours now and then does not."""
    random, hours = np.random.default_rng(5), np.arange(24 * 28)
    shop = np.where((hours % 24 >= 8) & (hours % 24 < 18), 100.0, 0.0)
    begun = np.cumsum(random.integers(12, 40, 40))
    machine = np.where((((hours[:, None] - begun) >= 0) & ((hours[:, None] - begun) < 10)).any(axis=1), 100.0, 0.0)
    gaps = np.where(random.random(len(hours)) < 0.3, np.nan, shop)
    np.testing.assert_array_equal(switching(np.stack([shop, gaps, machine]), 24), [False, False, True])
    assert switching(machine[None, :40], 24).all()
