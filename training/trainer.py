"""Runs Lightning for a forecaster's network: precision, early stopping, checkpoints and resuming as options say."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.profilers import SimpleProfiler

from models.forecasters.lstm import LstmConfig
from models.forecasters.lstm_data import Shape
from models.forecasters.lstm_network import LstmNetwork, forecast_loss
from models.panel import Panel
from training.checkpoints import Checkpoints, checkpoints_of
from training.checks import HOLDOUT_LOSS, Holdout, Report
from training.data_module import PanelDataModule
from training.interrupts import plain_interrupts
from training.lightning_module import ForecastModule

Progress = Callable[[float, float], None]
"""Called after every step with the share done and the loss."""

Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed"]


@dataclass(frozen=True, slots=True)
class TrainerOptions:
    """How Lightning trains; the defaults train all steps, in mixed precision where a GPU has it.

    ``patience`` > 0 ends a training after so many of ``checks`` without a better loss on the last horizon of windows,
    which is then held back, and keeps the best weights. ``checkpoints`` is where a training that was interrupted goes
    on from. ``overfit_batch`` learns one batch over and over, ``profile`` names a file for the time each part took, and
    ``checked`` is told number and loss of every check.
    """

    precision: Precision = "auto"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    patience: int = 0
    checks: int = 10
    checkpoints: Path | None = None
    overfit_batch: bool = False
    profile: Path | None = None
    checked: Callable[[int, float], None] | None = None


def lightning_trainer(
    options: TrainerOptions | None = None, progress: Progress | None = None, holdout: Holdout | None = None
) -> Callable[[LstmNetwork, Panel, Shape, LstmConfig], None]:
    """A trainer for `models.forecasters.lstm.Lstm`; ``holdout`` is data beyond its panel that a search looks at."""
    options = options or TrainerOptions()

    def train(network: LstmNetwork, panel: Panel, shape: Shape, config: LstmConfig) -> None:
        L.seed_everything(config.seed, verbose=False)
        watched = holdout or _held_back(panel, shape, options)
        learnt = panel.until(watched.cut) if watched is not None and holdout is None else panel
        data = PanelDataModule(learnt, shape, config.batch_size, config.seed, watched)
        module = ForecastModule(network, forecast_loss, config.learning_rate, config.steps)
        kept = checkpoints_of(options.checkpoints, network, learnt, shape, config)
        with quiet(), plain_interrupts(), tempfile.TemporaryDirectory(prefix="metercast-best-") as scratch:
            best = kept.directory if kept is not None else Path(scratch)
            profiler = SimpleProfiler() if options.profile is not None else None
            trainer = _trainer(options, config, progress, watched, kept, best, profiler)
            trainer.fit(module, data, ckpt_path=kept.latest() if kept is not None else None)
            if options.patience and watched is not None:
                _take_best(module, best)
        if kept is not None:
            kept.clear()
        if options.profile is not None and profiler is not None:
            options.profile.write_text(profiler.summary(), encoding="utf-8")
        network.cpu()

    return train


def _held_back(panel: Panel, shape: Shape, options: TrainerOptions) -> Holdout | None:
    """The last horizon, where early stopping is asked for and enough remains to learn from."""
    cut = panel.windows - shape.horizon
    return Holdout(panel, cut, options.checks, options.checked) if options.patience and cut > shape.context else None


def _trainer(
    options: TrainerOptions,
    config: LstmConfig,
    progress: Progress | None,
    watched: Holdout | None,
    kept: Checkpoints | None,
    best: Path,
    profiler: SimpleProfiler | None,
) -> L.Trainer:
    callbacks: list[L.Callback] = [_Progress(config.steps, progress)] if progress is not None else []
    if watched is not None and options.patience:
        callbacks.append(EarlyStopping(HOLDOUT_LOSS, patience=options.patience, mode="min"))
        callbacks.append(ModelCheckpoint(best, "best", HOLDOUT_LOSS, save_weights_only=True))
    if watched is not None and watched.report is not None:
        callbacks.append(Report(watched.report))
    if kept is not None:
        callbacks.append(kept)
    every: dict[str, Any] = (
        {"val_check_interval": max(1, config.steps // watched.checks), "check_val_every_n_epoch": None}
        if watched is not None
        else {"limit_val_batches": 0}
    )
    return L.Trainer(
        max_steps=config.steps,
        accelerator=options.accelerator,
        devices=1,
        precision=precision(options),
        gradient_clip_val=1.0,
        overfit_batches=1 if options.overfit_batch else 0,
        profiler=profiler,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=bool(watched is not None and options.patience),
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
        **every,
    )


def precision(options: TrainerOptions) -> Any:
    """What Lightning is told: mixed precision on a GPU (bfloat16 where it has that), else 32 bits.

    Raises ValueError for mixed precision without a GPU: processors do not have it for an LSTM.
    """
    has_gpu = options.accelerator != "cpu" and torch.cuda.is_available()
    if options.precision == "auto":
        return ("bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed") if has_gpu else "32-true"
    if options.precision != "32-true" and not has_gpu:
        raise ValueError(f"precision {options.precision} needs a GPU, and here is none; use auto or 32-true")
    return options.precision


def _take_best(module: ForecastModule, directory: Path) -> None:
    """The weights of the best check; none was saved where no check was reached."""
    for path in directory.glob("best*.ckpt"):
        module.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])


class _Progress(L.Callback):
    def __init__(self, steps: int, progress: Progress) -> None:
        self._steps, self._progress = steps, progress

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        """Tell how far the training is."""
        loss = trainer.callback_metrics.get("train_loss")
        self._progress(trainer.global_step / self._steps, float(loss) if loss is not None else float("nan"))


@contextmanager
def quiet() -> Iterator[None]:
    """Lightning's hints on hardware and loaders say nothing to whoever trains a forecaster."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)
