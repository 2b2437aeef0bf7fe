"""One LightningModule for any torch forecaster: quantiles out, pinball loss, Adam with a one-cycle rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from training.checks import HOLDOUT_LOSS

Loss = Callable[[Any, Tensor, Tensor], Tensor]
Batch = tuple[Tensor, ...]


class ForecastModule(L.LightningModule):
    """Trains a network on batches of its inputs, the target and the weight of every target."""

    def __init__(self, network: nn.Module, loss: Loss, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.learning_rate = learning_rate
        self.steps = steps
        self._seed = torch.initial_seed()

    def training_step(self, batch: Batch, index: int) -> Tensor:  # noqa: ARG002
        """Mean loss of a batch; what is left out at random depends on seed and step alone, so a resumed one goes on."""
        torch.manual_seed(self._seed + 1_000_003 * self.trainer.global_step)
        value = self._loss(batch)
        self.log("train_loss", value)
        return value

    def validation_step(self, batch: Batch, index: int) -> None:  # noqa: ARG002
        """Mean loss of windows held back, over all their batches."""
        self.log(HOLDOUT_LOSS, self._loss(batch), batch_size=len(batch[0]), on_epoch=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with a one-cycle learning rate over the planned steps."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _loss(self, batch: Batch) -> Tensor:
        *inputs, target, weight = batch
        return self.loss(self.network(*inputs), target, weight)
