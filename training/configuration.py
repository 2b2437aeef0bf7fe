"""What a training run or a search is told: a YAML file, checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from models.forecasters.registry import CHALLENGERS, FORECASTERS, why_unknown
from training.wrong_configuration import faults

NAMES = (*(name for name in FORECASTERS if name not in CHALLENGERS), *CHALLENGERS)
"""Whatever is installed, so that the schema for editors is the same everywhere."""


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
    usage: Path | None = Field(None, description="CSV or Parquet of series; default: the windows of the data directory")


class LstmConfiguration(_Strict):
    """Sizes and training of the LSTM, as `models.forecasters.lstm.LstmConfig`."""

    hidden: int = Field(64, ge=4, le=1024)
    layers: int = Field(1, ge=1, le=4)
    context_seasons: int = Field(7, ge=1)
    batch_size: int = Field(256, ge=1)
    steps: int = Field(600, ge=1)
    passes: float = Field(2.0, gt=0, description="examples at most for every window of the panel")
    learning_rate: float = Field(3e-3, gt=0, lt=1)
    seed: int = 0


class TrainerConfiguration(_Strict):
    """How Lightning trains, as `training.trainer.TrainerOptions`."""

    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed"] = Field(
        "auto", description="auto: mixed on a GPU, 32 bits elsewhere"
    )
    accelerator: Literal["auto", "cpu", "gpu"] = Field("auto", description="auto: the GPU where there is one")
    patience: int = Field(
        0, ge=0, description="end after so many checks without a better loss on the last horizon; 0 trains all steps"
    )
    checks: int = Field(10, ge=1, description="how often the loss on what is held back is looked at")
    overfit_batch: bool = Field(False, description="learn one batch over and over: its loss must fall towards zero")
    profile: bool = Field(False, description="attach to the run what each part of the training took")


class BacktestConfiguration(_Strict):
    """Rolling origins at the end of the data, ``horizon`` windows apart unless ``stride`` says otherwise."""

    origins: int = Field(3, ge=1, le=64)
    stride: int | None = Field(None, ge=1)


class TrainConfiguration(_Strict):
    """A training run: data, models, backtest, and whether the best becomes champion."""

    experiment: str = "metercast"
    data: DataConfiguration = DataConfiguration()
    models: list[Literal[NAMES]] = Field(  # type: ignore[valid-type]
        default=["seasonal-naive", "markov", "lstm"], min_length=1
    )
    lstm: LstmConfiguration = LstmConfiguration()
    trainer: TrainerConfiguration = TrainerConfiguration()
    backtest: BacktestConfiguration = BacktestConfiguration()
    metric: Literal["wql", "mase", "bill_wape"] = "wql"
    promote: bool = False
    certainty: float = Field(
        0.95,
        ge=0,
        le=1,
        description="how sure it must be that the best beats the champion; 0 promotes every best model",
    )

    @model_validator(mode="after")
    def _installed(self) -> Self:
        missing = [name for name in self.models if name not in FORECASTERS]
        if missing:
            raise ValueError(why_unknown(missing[0]))
        return self


class Choices(_Strict):
    """One of these values."""

    choices: list[int | float] = Field(min_length=1)


class Range(_Strict):
    """Any value from ``low`` to ``high``, whole numbers where both are; ``log`` searches by ratio."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.low > self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"low {self.low} and high {self.high} are no range; low must not exceed high, log needs > 0"
            )
        return self


def _space_kind(value: object) -> str:
    """Told apart by the key, so that an error speaks of the kind that was meant."""
    return "choices" if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value) else "range"


Space = Annotated[Annotated[Choices, Tag("choices")] | Annotated[Range, Tag("range")], Discriminator(_space_kind)]


class TuneConfiguration(_Strict):
    """A search: data, model, the values that may vary (keys of ``lstm``), and how many trials the study shall have."""

    study: str = "lstm"
    experiment: str = "tuning"
    data: DataConfiguration = DataConfiguration()
    model: Literal["lstm", "ensemble"] = "lstm"
    lstm: LstmConfiguration = LstmConfiguration()
    trainer: TrainerConfiguration = TrainerConfiguration()
    space: dict[str, Space] = Field(min_length=1)
    backtest: BacktestConfiguration = BacktestConfiguration()
    metric: Literal["wql", "mase", "scaled_pinball", "bill_wape", "bill_wql"] = "wql"
    trials: int = Field(20, ge=1)
    checks: int = Field(4, ge=1, description="how often a training is compared with earlier ones, to prune it")
    seed: int = 0

    @model_validator(mode="after")
    def _known(self) -> Self:
        allowed = sorted(set(LstmConfiguration.model_fields) - {"seed"})
        unknown = sorted(set(self.space) - set(allowed))
        if unknown:
            raise ValueError(f"space has {unknown[0]!r}; what may vary is {', '.join(allowed)}")
        return self


Kind = TypeVar("Kind", bound=BaseModel)


def load_configuration(path: Path) -> TrainConfiguration:
    """The training run of a YAML file; raises ConfigurationError for a missing file or a key that does not fit."""
    return _load(path, TrainConfiguration, "training")


def load_tune_configuration(path: Path) -> TuneConfiguration:
    """The search of a YAML file; raises ConfigurationError as `load_configuration` does."""
    return _load(path, TuneConfiguration, "tuning")


def _load(path: Path, kind: type[Kind], what: str) -> Kind:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; give the path of a {what} configuration") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: no text in UTF-8; give the path of a {what} configuration") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: not valid YAML: {error}") from error
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise ConfigurationError("\n".join(f"{path}: {fault}" for fault in faults(error, kind))) from error
