"""Ctrl-C stops a training at once and cleanly."""

from __future__ import annotations

import signal

import pytest

from models.forecasters.lstm import LstmConfig
from tests.models.forecasters.test_conformance import make_panel
from training.fit import fit_forecaster


def test_an_interrupt_is_an_interrupt() -> None:
    """Commands can say that they were stopped, and a second Ctrl-C still works."""
    before = signal.getsignal(signal.SIGINT)
    seen: list[float] = []

    def stop(share: float, _loss: float) -> None:
        seen.append(share)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit_forecaster("lstm", make_panel(), 6, LstmConfig(hidden=8, batch_size=8, steps=50), stop)
    assert len(seen) == 1
    assert signal.getsignal(signal.SIGINT) is before
