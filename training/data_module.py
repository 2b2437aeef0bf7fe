"""Training batches drawn from a panel: random series at random cuts, none of which looks past the panel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import lightning as L
import numpy as np
import polars as pl
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from models.forecasters.lstm import LstmConfig, shape_for
from models.forecasters.lstm_data import Shape, examples
from models.panel import Panel
from training.checks import Holdout
from training.mapped_panel import map_panel

Batch = tuple[Tensor, ...]


class RandomPieces(IterableDataset[Batch]):
    """Endless batches; every draw depends on the seed alone, and the first ``done`` of them are passed over."""

    def __init__(self, panel: Panel, shape: Shape, batch_size: int, seed: int, done: int = 0) -> None:
        self._panel, self._shape, self._batch_size, self._seed = panel, shape, batch_size, seed
        self._done = done

    def __iter__(self) -> Iterator[Batch]:
        random = np.random.default_rng(self._seed)
        first = min(self._shape.patch, self._panel.windows - 1)
        last = max(first + 1, self._panel.windows - self._shape.horizon // 2)
        drawn = 0
        while True:
            rows = random.integers(0, len(self._panel.series), self._batch_size)
            cuts = random.integers(first, last, self._batch_size)
            drawn += 1
            if drawn > self._done:
                yield _batch(self._panel, rows, cuts, self._shape)


class HeldBack(IterableDataset[Batch]):
    """All series once, seen from the holdout's cut."""

    def __init__(self, holdout: Holdout, shape: Shape, batch_size: int) -> None:
        self._holdout, self._shape, self._batch_size = holdout, shape, batch_size

    def __iter__(self) -> Iterator[Batch]:
        count = len(self._holdout.panel.series)
        for first in range(0, count, self._batch_size):
            rows = np.arange(first, min(first + self._batch_size, count))
            yield _batch(self._holdout.panel, rows, np.full(len(rows), self._holdout.cut), self._shape)


class PanelDataModule(L.LightningDataModule):
    """Gives Lightning random pieces of a panel, and what is held back as validation; resumes at the next batch."""

    def __init__(self, panel: Panel, shape: Shape, batch_size: int, seed: int, holdout: Holdout | None = None) -> None:
        super().__init__()
        self.panel, self.shape = panel, shape
        self._batch_size, self._seed, self._holdout = batch_size, seed, holdout
        self._done = 0

    @classmethod
    def from_frame(
        cls,
        frame: pl.DataFrame | pl.LazyFrame,
        window_ns: int,
        season: int,
        horizon: int,
        file: Path,
        config: LstmConfig | None = None,
    ) -> Self:
        """Batches straight from a frame (series, tenant, resource, timestamp, value), memory-mapped in ``file``.

        Raises ValueError as `training.mapped_panel.map_panel` does.
        """
        config = config or LstmConfig()
        panel = map_panel(frame, window_ns, season, file)
        return cls(panel, shape_for(panel, horizon, config), config.batch_size, config.seed)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches are made whole by the data set, so the loader adds no dimension."""
        pieces = RandomPieces(self.panel, self.shape, self._batch_size, self._seed, self._done)
        return DataLoader(pieces, batch_size=None)

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """What is held back; nothing where nothing is."""
        if self._holdout is None:
            return []
        return DataLoader(HeldBack(self._holdout, self.shape, max(256, self._batch_size)), batch_size=None)

    def state_dict(self) -> dict[str, Any]:
        """How many batches were learnt from, for a checkpoint."""
        return {"done": self.trainer.global_step if self.trainer is not None else self._done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after the batches that were learnt from."""
        self._done = int(state_dict["done"])


def _batch(panel: Panel, rows: Any, cuts: Any, shape: Shape) -> Batch:
    piece = examples(panel, rows, cuts, shape)
    return *piece.seen.inputs, piece.target, piece.weight
