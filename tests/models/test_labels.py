"""Static covariates reach the network, and what it was not told of does no harm."""

from __future__ import annotations

import numpy as np

from models.labels import codes, vocabulary
from models.panel import Panel


def panel() -> Panel:
    """Three series, two of one operation and resource."""
    names = ("a|render|CPU_INSTRUCTION|cpu", "b|render|DISK_READ|cpu", "plain")
    values = np.random.default_rng(0).random((3, 48))
    return Panel(names, ("a", "b", "c"), ("cpu", "cpu", "disk"), values, 0, 3_600_000_000_000, 12)


def test_what_two_series_share_is_told_apart() -> None:
    """Operation, micro-operation type and resource have numbers; rare and unknown values are number 0."""
    known = vocabulary(panel())
    assert known == (("render",), (), ("cpu",))
    assert codes(panel(), np.arange(3), known).tolist() == [[1, 0, 1], [1, 0, 1], [0, 0, 0]]
