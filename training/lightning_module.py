"""One LightningModule for any torch forecaster: quantiles out, pinball loss, Adam with a one-cycle rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

Loss = Callable[[Any, Tensor, Tensor], Tensor]


class ForecastModule(L.LightningModule):
    """Trains a network that maps (context, steps) to quantiles, on batches of (context, steps, target, weight)."""

    def __init__(self, network: nn.Module, loss: Loss, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.network = network
        self.loss = loss
        self.learning_rate = learning_rate
        self.steps = steps

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor, Tensor], index: int) -> Tensor:  # noqa: ARG002
        """Mean pinball loss of a batch."""
        context, steps, target, weight = batch
        value = self.loss(self.network(context, steps), target, weight)
        self.log("train_loss", value)
        return value

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with a one-cycle learning rate over the planned steps."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
