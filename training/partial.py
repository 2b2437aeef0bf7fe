"""What a backtest has done so far, in a directory, so that one that was stopped goes on where it stood."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np

from models.bundle import BundleError, load, save
from models.contracts import LEVELS, Forecast, Forecaster

_QUESTION = "question.json"


class Partial:
    """The trained model and the forecasts of one backtest; those of another question are thrown away."""

    def __init__(self, directory: Path, question: str) -> None:
        """``question`` says all that decides the answer: data, origins, horizon, model, configuration."""
        self.directory = directory
        asked = hashlib.sha256(f"{version('metercast-platform')} {question}".encode()).hexdigest()
        if self._asked() != asked:
            self.clear()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / _QUESTION).write_text(json.dumps({"asked": asked}), encoding="utf-8")

    @property
    def checkpoints(self) -> Path:
        """Where a training under way keeps its state."""
        return self.directory / "checkpoints"

    def model(self) -> tuple[Forecaster, float] | None:
        """The model that was trained, and the seconds that took."""
        try:
            forecaster, metadata = load(self.directory / "model")
        except BundleError:
            return None
        return forecaster, float(metadata["train_s"])

    def keep_model(self, forecaster: Forecaster, train_s: float) -> None:
        """The training is done."""
        save(forecaster, self.directory / "model", {"train_s": train_s})

    def forecast(self, cut: int) -> Forecast | None:
        """The forecast from a cut, if it was made."""
        try:
            with np.load(self.directory / f"{cut}.npz", allow_pickle=False) as arrays:
                return Forecast(LEVELS, arrays["steps"], arrays["totals"])
        except FileNotFoundError:
            return None

    def keep(self, cut: int, forecast: Forecast) -> None:
        """A forecast is made; it is written whole or not at all."""
        draft = self.directory / f"{cut}.draft.npz"
        np.savez(draft, steps=forecast.steps, totals=forecast.totals)
        os.replace(draft, self.directory / f"{cut}.npz")

    def clear(self) -> None:
        """Everything is done, or nothing of it fits."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _asked(self) -> str | None:
        try:
            asked = json.loads((self.directory / _QUESTION).read_text(encoding="utf-8"))["asked"]
        except (OSError, ValueError, KeyError):
            return None
        return str(asked)
