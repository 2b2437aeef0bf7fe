"""Looks at a network while it trains, on windows that it does not learn from, so that a bad training can end early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import lightning as L
import numpy as np
import torch

from models.forecasters.lstm_data import Shape, examples
from models.forecasters.lstm_network import forecast_loss
from models.panel import Panel


@dataclass(frozen=True, slots=True)
class Holdout:
    """What comes after the training data: ``panel`` from window ``cut`` on, looked at ``checks`` times.

    ``report(check, loss)`` is told the loss of each check, numbered from 1; what it raises ends the training.
    """

    panel: Panel
    cut: int
    checks: int
    report: Callable[[int, float], None]


class HoldoutChecks(L.Callback):
    """Computes the loss on a holdout at evenly spaced steps of a training."""

    def __init__(self, holdout: Holdout, shape: Shape, steps: int) -> None:
        self._holdout = holdout
        self._every = max(1, steps // holdout.checks)
        rows = np.arange(len(holdout.panel.series))
        self._examples = examples(holdout.panel, rows, np.full(len(rows), holdout.cut), shape)
        self._done = 0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: object) -> None:
        """Check where it is time to; weights and the random state stay as they are."""
        if trainer.global_step < (self._done + 1) * self._every or self._done >= self._holdout.checks:
            return
        self._done += 1
        batch, device = self._examples, module.device
        network = module.network
        assert isinstance(network, torch.nn.Module)
        network.eval()
        with torch.no_grad():
            out = network(batch.context.to(device), batch.steps.to(device))
            loss = float(forecast_loss(out, batch.target.to(device), batch.weight.to(device)))
        network.train()
        self._holdout.report(self._done, loss)
