"""Training batches drawn from a panel: random series at random cuts, none of which looks past the panel."""

from __future__ import annotations

from collections.abc import Iterator

import lightning as L
import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from models.forecasters.lstm_data import Shape, examples
from models.panel import Panel

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


class RandomPieces(IterableDataset[Batch]):
    """Endless batches; every draw depends on the seed alone."""

    def __init__(self, panel: Panel, shape: Shape, batch_size: int, seed: int) -> None:
        self._panel, self._shape, self._batch_size, self._seed = panel, shape, batch_size, seed

    def __iter__(self) -> Iterator[Batch]:
        random = np.random.default_rng(self._seed)
        first = min(self._shape.patch, self._panel.windows - 1)
        last = max(first + 1, self._panel.windows - self._shape.horizon // 2)
        while True:
            rows = random.integers(0, len(self._panel.series), self._batch_size)
            cuts = random.integers(first, last, self._batch_size)
            piece = examples(self._panel, rows, cuts, self._shape)
            yield piece.context, piece.steps, piece.target, piece.weight


class PanelDataModule(L.LightningDataModule):
    """Gives Lightning the batches of `RandomPieces`."""

    def __init__(self, panel: Panel, shape: Shape, batch_size: int, seed: int) -> None:
        super().__init__()
        self._pieces = RandomPieces(panel, shape, batch_size, seed)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches are made whole by the data set, so the loader adds no dimension."""
        return DataLoader(self._pieces, batch_size=None)
