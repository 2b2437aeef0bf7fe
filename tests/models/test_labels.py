"""Static and planned covariates reach the network, and what it was not told of does no harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.forecasters.lstm import LstmConfig, shape_for
from models.forecasters.lstm_data import examples
from models.labels import codes, vocabulary
from models.panel import Panel

CONFIG = LstmConfig(hidden=8, context_seasons=2)


def panel(planned: np.ndarray | None = None) -> Panel:
    """Three series, two of one operation and resource."""
    names = ("a|render|CPU_INSTRUCTION|cpu", "b|render|DISK_READ|cpu", "plain")
    values = np.random.default_rng(0).random((3, 48))
    return Panel(names, ("a", "b", "c"), ("cpu", "cpu", "disk"), values, 0, 3_600_000_000_000, 12, planned)


def test_what_two_series_share_is_told_apart() -> None:
    """Operation, micro-operation type and resource have numbers; rare and unknown values are number 0."""
    known = vocabulary(panel())
    assert known == (("render",), (), ("cpu",))
    assert codes(panel(), np.arange(3), known).tolist() == [[1, 0, 1], [1, 0, 1], [0, 0, 0]]


def test_planned_events_are_known_ahead() -> None:
    """An event after the cut is among what is known of the steps to come; usage after the cut is not."""
    planned = np.zeros((1, 60))
    planned[0, 50] = 1.0
    with_event = panel(planned)
    shape = shape_for(with_event, 6, CONFIG)
    rows, cuts = np.array([0]), np.array([48])
    steps = examples(with_event, rows, cuts, shape).steps
    assert steps[0, :, -1].tolist() == [0, 0, 1, 0, 0, 0]
    without = examples(panel(), rows, cuts, shape).steps
    assert without.shape == steps.shape
    np.testing.assert_array_equal(without[..., :-1], steps[..., :-1])
    later = replace(with_event, values=np.concatenate([with_event.values, np.full((3, 6), 9e9)], axis=1))
    np.testing.assert_array_equal(examples(later, rows, cuts, shape).steps, steps)


def test_planned_events_without_numbers_are_refused() -> None:
    """A gap in what is planned is an error with a way out."""
    with pytest.raises(ValueError, match="use 0 for none"):
        panel(np.array([[np.nan]]))
