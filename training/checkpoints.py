"""Checkpoints of a training under way, so that one that was interrupted or killed goes on where it stood."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L

from models.forecasters.lstm import LstmConfig
from models.forecasters.lstm_data import Shape
from models.forecasters.lstm_network import LstmNetwork
from models.panel import Panel
from training.fingerprint import fingerprint

EVERY_S = 20.0
"""A killed training loses no more than this; an interrupted one loses nothing."""

FILE = "last.ckpt"


class Checkpoints(L.Callback):
    """Keeps the latest state of one training in a directory of its own, written whole or not at all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._saved_at_s = time.monotonic()

    def latest(self) -> str | None:
        """The file to go on from, where an earlier training of the same data and configuration did not end."""
        path = self.directory / FILE
        return str(path) if path.is_file() else None

    def clear(self) -> None:
        """The training ended: nothing to go on from."""
        shutil.rmtree(self.directory, ignore_errors=True)
        with suppress(OSError):  # others may have checkpoints beside it, or there never were any
            self.directory.parent.rmdir()

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Save from time to time."""
        if time.monotonic() - self._saved_at_s >= EVERY_S:
            self._save(trainer)

    def on_exception(self, trainer: L.Trainer, *_: Any) -> None:
        """Save what was learnt until an interrupt."""
        self._save(trainer)

    def _save(self, trainer: L.Trainer) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        draft = self.directory / f"{FILE}.draft"
        trainer.save_checkpoint(draft)
        os.replace(draft, self.directory / FILE)
        self._saved_at_s = time.monotonic()


def checkpoints_of(
    parent: Path | None, network: LstmNetwork, panel: Panel, shape: Shape, config: LstmConfig
) -> Checkpoints | None:
    """Checkpoints of this training below ``parent``: other data, sizes or configuration have another directory."""
    if parent is None:
        return None
    sizes = [(name, tuple(value.shape)) for name, value in network.state_dict().items()]
    identity = repr((fingerprint(panel), shape, config, sizes))
    return Checkpoints(parent / hashlib.sha256(identity.encode()).hexdigest()[:16])
