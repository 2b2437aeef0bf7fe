"""What a training run is told: a YAML file, checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.forecasters.registry import FORECASTERS


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the message has the file, the key, what was found and what is allowed."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfiguration(_Strict):
    """Which usage is learnt from: windows of this length, the last ``windows`` of them."""

    window_s: int = Field(3600, ge=1)
    season: int = Field(24, ge=1)
    windows: int = Field(4096, ge=8)
    horizon: int = Field(168, ge=1)


class LstmConfiguration(_Strict):
    """Sizes and training of the LSTM, as `models.forecasters.lstm.LstmConfig`."""

    hidden: int = Field(64, ge=4, le=1024)
    layers: int = Field(1, ge=1, le=4)
    context_seasons: int = Field(7, ge=1)
    batch_size: int = Field(256, ge=1)
    steps: int = Field(600, ge=1)
    learning_rate: float = Field(3e-3, gt=0, lt=1)
    seed: int = 0


class BacktestConfiguration(_Strict):
    """Rolling origins at the end of the data, ``horizon`` windows apart unless ``stride`` says otherwise."""

    origins: int = Field(3, ge=1, le=64)
    stride: int | None = Field(None, ge=1)


class TrainConfiguration(_Strict):
    """A training run: data, models, backtest, and whether the best becomes champion."""

    experiment: str = "metercast"
    data: DataConfiguration = DataConfiguration()
    models: list[Literal[tuple(FORECASTERS)]] = Field(  # type: ignore[valid-type]
        default=["seasonal-naive", "markov", "lstm"], min_length=1
    )
    lstm: LstmConfiguration = LstmConfiguration()
    backtest: BacktestConfiguration = BacktestConfiguration()
    metric: Literal["wql", "mase", "bill_wape"] = "wql"
    promote: bool = False


def load_configuration(path: Path) -> TrainConfiguration:
    """The configuration of a YAML file; raises ConfigurationError for a missing file or a key that does not fit."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; give the path of a training configuration") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from error
    try:
        return TrainConfiguration.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise ConfigurationError(f"{path}: {where}: {first['msg']} (found {first['input']!r:.80})") from error
