"""Looks at a network while it trains, on windows that it does not learn from, so that a training can end early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightning as L

from models.panel import Panel

HOLDOUT_LOSS = "holdout_loss"
"""Under this name the loss on windows held back is logged."""


@dataclass(frozen=True, slots=True)
class Holdout:
    """What comes after the training data: ``panel`` from window ``cut`` on, looked at ``checks`` times.

    ``report(check, loss)`` is told the loss of each check, numbered from 1; what it raises ends the training.
    """

    panel: Panel
    cut: int
    checks: int
    report: Callable[[int, float], None] | None = None


class Report(L.Callback):
    """Tells the loss of every check."""

    def __init__(self, report: Callable[[int, float], None]) -> None:
        self._report, self._done = report, 0

    def on_validation_end(self, trainer: L.Trainer, *_: object) -> None:
        """Count the check and tell its loss."""
        self._done += 1
        self._report(self._done, float(trainer.callback_metrics[HOLDOUT_LOSS]))
