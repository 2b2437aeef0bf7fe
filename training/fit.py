"""Fitting a forecaster by name: Lightning where a network is trained, the model's own counting elsewhere."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import lightning as L

from models.contracts import Forecaster
from models.forecasters.ensemble import Ensemble
from models.forecasters.lstm import Lstm, LstmConfig
from models.forecasters.lstm_data import Shape
from models.forecasters.lstm_network import LstmNetwork, forecast_loss
from models.forecasters.registry import FORECASTERS
from models.panel import Panel
from training.checks import Holdout, HoldoutChecks
from training.data_module import PanelDataModule
from training.lightning_module import ForecastModule
from training.memory import TrainedNetworks
from training.threads import few_threads

Progress = Callable[[float, float], None]
"""Called after every step with the share done and the loss."""


def fit_forecaster(
    name: str,
    panel: Panel,
    horizon: int,
    config: LstmConfig | None = None,
    progress: Progress | None = None,
    holdout: Holdout | None = None,
    networks: TrainedNetworks | None = None,
) -> Forecaster:
    """A forecaster of the registry fitted to a panel; raises KeyError for an unknown name.

    ``holdout`` watches a network on data it does not learn from, and may end the training by an exception; ``networks``
    gives back what was trained before on the same data in the same way.
    """
    kind = FORECASTERS[name]
    with few_threads():
        if issubclass(kind, Lstm | Ensemble):
            trainer = lightning_trainer(progress, holdout)
            return kind(config, networks.around(trainer) if networks is not None else trainer).fit(panel, horizon)
        return kind().fit(panel, horizon)


def lightning_trainer(
    progress: Progress | None = None, holdout: Holdout | None = None
) -> Callable[[LstmNetwork, Panel, Shape, LstmConfig], None]:
    """A trainer for `models.forecasters.lstm.Lstm` that runs Lightning; the GPU is used where there is one."""

    def train(network: LstmNetwork, panel: Panel, shape: Shape, config: LstmConfig) -> None:
        L.seed_everything(config.seed, verbose=False)
        module = ForecastModule(network, forecast_loss, config.learning_rate, config.steps)
        data = PanelDataModule(panel, shape, config.batch_size, config.seed)
        callbacks: list[L.Callback] = [_Report(config.steps, progress)] if progress is not None else []
        if holdout is not None:
            callbacks.append(HoldoutChecks(holdout, shape, config.steps))
        with _quiet():
            trainer = L.Trainer(
                max_steps=config.steps,
                accelerator="auto",
                devices=1,
                gradient_clip_val=1.0,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=callbacks,
            )
            trainer.fit(module, data)
        network.cpu()

    return train


class _Report(L.Callback):
    def __init__(self, steps: int, progress: Progress) -> None:
        self._steps, self._progress = steps, progress

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        """Tell how far the training is."""
        loss = trainer.callback_metrics.get("train_loss")
        self._progress(trainer.global_step / self._steps, float(loss) if loss is not None else float("nan"))


class _quiet:  # noqa: N801 -- used as a statement
    """Lightning's hints on hardware and loaders say nothing to whoever trains a forecaster."""

    def __enter__(self) -> None:
        self._filters = warnings.catch_warnings()
        self._filters.__enter__()
        warnings.simplefilter("ignore")
        self._logger = logging.getLogger("lightning.pytorch")
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        self._logger.setLevel(self._level)
        self._filters.__exit__(None, None, None)
