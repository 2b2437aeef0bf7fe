"""Fitting a forecaster by name: Lightning where a network is trained, the model's own counting elsewhere."""

from __future__ import annotations

from models.contracts import Forecaster
from models.forecasters.ensemble import Ensemble
from models.forecasters.lstm import Lstm, LstmConfig
from models.forecasters.registry import FORECASTERS
from models.panel import Panel
from training.checks import Holdout
from training.memory import TrainedNetworks, Trainer
from training.threads import few_threads
from training.trainer import Progress, TrainerOptions, lightning_trainer


def fit_forecaster(
    name: str,
    panel: Panel,
    horizon: int,
    config: LstmConfig | None = None,
    progress: Progress | None = None,
    holdout: Holdout | None = None,
    networks: TrainedNetworks | None = None,
    options: TrainerOptions | None = None,
) -> Forecaster:
    """A forecaster of the registry fitted to a panel; raises KeyError for an unknown name.

    ``holdout`` watches a network on data it does not learn from, and may end the training by an exception; ``networks``
    gives back what was trained before on the same data in the same way.
    """
    kind = FORECASTERS[name]
    with few_threads():
        if issubclass(kind, Lstm | Ensemble):
            return kind(config, _trainer(options, progress, holdout, networks)).fit(panel, horizon)
        return kind().fit(panel, horizon)


def _trainer(
    options: TrainerOptions | None,
    progress: Progress | None,
    holdout: Holdout | None,
    networks: TrainedNetworks | None,
) -> Trainer:
    if networks is None:
        return lightning_trainer(options, progress, holdout)
    return networks.around(
        lambda own, told: lightning_trainer(own, told, holdout), options or TrainerOptions(), progress
    )
