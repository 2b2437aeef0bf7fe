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
    np.testing.assert_array_equal(switching(values), [True, True, False, False, False, False, False])


def test_size_and_unit_do_not_matter() -> None:
    """The same series in bytes and in terabytes, and over a base load, is of the same kind."""
    values = np.tile([0.0, 0.0, 1.0], (1, 40))
    assert switching(np.concatenate([values, values * 1e12, values * 1e-9 + 5])).all()
