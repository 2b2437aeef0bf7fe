"""LSTM: one network for all series, direct quantiles of every step, errors as dependent as they were in the past.

The network is not shown the last two seasons of what it is fitted to, so that the errors it makes there are honest:
an ensemble weighs it by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from models.contracts import LEVELS, Forecast, State
from models.dependence import Dependence, estimate, scores, total_quantiles
from models.forecasters.lstm_data import Shape, seen
from models.forecasters.lstm_inference import Weights, outputs, prepared, restored
from models.forecasters.lstm_network import LstmNetwork
from models.labels import vocabulary
from models.panel import Panel
from models.paths import sample_paths
from models.quantiles import tidy

Array = NDArray[np.float64]
ORIGINS = 4
UNSEEN = 2
"""So many seasons at the end are not learnt from, or a sixth of a panel that is short."""

SHORTEST = 100
"""So many steps are trained however small a panel is."""

ROWS = 128
"""So many series at a time, so that what is computed stays in the processor's cache."""

Trainer = Callable[[LstmNetwork, Panel, Shape, "LstmConfig"], None]
"""Fits a network in place to a panel."""


@dataclass(frozen=True, slots=True)
class LstmConfig:
    """Sizes and training of the LSTM; ``context_seasons`` bounds the context, which history may shorten.

    Training ends after ``steps``, or when it has seen ``passes`` examples for every window of the panel: a few short
    series are soon known by heart.
    """

    hidden: int = 64
    layers: int = 1
    context_seasons: int = 7
    batch_size: int = 256
    steps: int = 600
    passes: float = 2.0
    learning_rate: float = 3e-3
    seed: int = 0


class NotTrainedError(RuntimeError):
    """The LSTM was asked for a forecast before it was trained."""


class Lstm:
    """A global LSTM; `fit` needs a trainer, as `training.fit` gives it, while a restored model only forecasts."""

    name: ClassVar[str] = "lstm"

    def __init__(self, config: LstmConfig | None = None, trainer: Trainer | None = None) -> None:
        self._config = config or LstmConfig()
        self._trainer = trainer
        self._network: LstmNetwork | None = None
        self._weights: Weights | None = None
        self._shape: Shape | None = None
        self._dependence = Dependence()

    def fit(self, panel: Panel, horizon: int) -> Self:
        """Train on the panel; raises NotTrainedError without a trainer. Returns itself."""
        if self._trainer is None:
            raise NotTrainedError("the LSTM has no trainer; train it with `metercast train` and load its bundle")
        learnt = panel.until(panel.windows - min(UNSEEN * panel.season, panel.windows // 6))
        batch = batch_for(learnt, self._config.batch_size)
        config = replace(self._config, batch_size=batch, steps=steps_for(learnt, self._config, batch))
        shape = shape_for(learnt, horizon, config)
        torch.manual_seed(config.seed)
        network = _network(shape, config)
        self._trainer(network, learnt, shape, config)
        self._network, self._weights, self._shape = network.eval(), prepared(network), shape
        self._dependence = self._measured(panel, shape)
        return self

    def forecast(self, panel: Panel, horizon: int) -> Forecast:
        """Quantiles of the next windows and of their sum."""
        steps, direct = self.steps_and_totals(panel, horizon)
        totals = total_quantiles(steps, self._dependence)
        return Forecast(LEVELS, steps, tidy(totals if direct is None else 0.5 * (totals + direct)))

    def steps_and_totals(self, panel: Panel, horizon: int) -> tuple[Array, Array | None]:
        """Quantiles of steps, and of their sum by a head of its own; None for a horizon it was not trained for.

        Beyond the trained horizon medians stand in as history.
        """
        _, shape = self._trained()
        parts: list[Array] = []
        values, done, totals = panel.values, 0, None
        while done < horizon:
            steps, mean = self._block(
                replace(panel, values=values), replace(shape, horizon=min(horizon, shape.horizon))
            )
            parts.append(steps)
            totals = tidy(mean * horizon) if horizon == shape.horizon else None
            values = (
                np.concatenate([values, steps[:, :, LEVELS.index(0.5)]], axis=1) if horizon > shape.horizon else values
            )
            done += steps.shape[1]
        return np.concatenate(parts, axis=1)[:, :horizon], totals

    def quantiles(self, panel: Panel, horizon: int) -> NDArray[np.float64]:
        """Quantiles of the next windows alone."""
        return self._steps(panel, horizon)

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> Array:
        """Sample futures of shape (count, series, horizon)."""
        return self._sample(self._steps(panel, horizon), panel, count, seed)

    def state(self) -> State:
        """Sizes, dependence and weights; raises NotTrainedError before training."""
        network, shape = self._trained()
        document = {
            "config": asdict(self._config),
            "shape": asdict(shape),
            "dependence": asdict(self._dependence),
        }
        return State(document, {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The model that `state` described."""
        document: Mapping[str, Any] = state.document
        model = cls(LstmConfig(**document["config"]))
        labels = tuple(tuple(field) for field in document["shape"]["labels"])
        shape = model._shape = Shape(**{**document["shape"], "labels": labels})
        network = _network(shape, model._config)
        network.load_state_dict({name: torch.as_tensor(np.asarray(value)) for name, value in state.arrays.items()})
        model._network, model._weights = network.eval(), prepared(network)
        model._dependence = Dependence(**document["dependence"])
        return model

    def _sample(self, steps: Array, panel: Panel, count: int, seed: int) -> Array:
        return sample_paths(steps, self._dependence, panel.tenants, count, seed)

    def _steps(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of shape (series, horizon, levels)."""
        return self.steps_and_totals(panel, horizon)[0]

    @torch.inference_mode()
    def _block(self, panel: Panel, shape: Shape) -> tuple[Array, Array]:
        """Quantiles of the steps of one pass (series, horizon, levels), and of their mean (series, levels)."""
        network, _ = self._trained()
        count = len(panel.series)
        steps = np.empty((count, shape.horizon, len(LEVELS)))
        mean = np.empty((count, len(LEVELS)))
        for first in range(0, count, ROWS):
            rows = np.arange(first, min(first + ROWS, count))
            batch = seen(panel, rows, np.full(len(rows), panel.windows), shape)
            found, whole = outputs(network, self._weights, batch.inputs)
            steps[rows] = restored(found, batch.scale, batch.level)
            mean[rows] = whole.double().numpy() * batch.scale + batch.level
        return steps, mean

    def _measured(self, panel: Panel, shape: Shape) -> Dependence:
        """The dependence of errors at the last origins; on data trained on, hence of shape, not of size."""
        found = []
        for back in range(ORIGINS, 0, -1):
            cut = panel.windows - back * shape.horizon
            if cut >= shape.patch:
                actual = panel.values[:, cut : cut + shape.horizon]
                found.append(scores(actual, self._steps(panel.until(cut), shape.horizon)))
        return estimate(np.stack(found), panel.tenants) if found else Dependence()

    def _trained(self) -> tuple[LstmNetwork, Shape]:
        if self._network is None or self._shape is None:
            raise NotTrainedError("the LSTM has not been trained; train it with `metercast train`")
        return self._network, self._shape


def shape_for(panel: Panel, horizon: int, config: LstmConfig) -> Shape:
    """Sizes that fit a panel: at most half of it is context, in whole patches; so is the horizon."""
    season = panel.season
    reach = max(1, min(horizon, panel.windows // 2))
    patch = max(1, season // 6) if season >= 6 else 1
    longest = max(patch, min(config.context_seasons * season, panel.windows // 2))
    planned = 0 if panel.planned is None else 1
    return Shape(longest // patch * patch, reach, patch, season, vocabulary(panel), planned)


def _network(shape: Shape, config: LstmConfig) -> LstmNetwork:
    sizes = tuple(len(field) for field in shape.labels)
    return LstmNetwork(shape.patch, config.hidden, config.layers, sizes, shape.planned)


def batch_for(panel: Panel, largest: int) -> int:
    """A batch of at most a hundredth of all windows, so that a few short series are not learnt by heart."""
    return min(largest, max(16, panel.values.size // 100))


def steps_for(panel: Panel, config: LstmConfig, batch: int) -> int:
    """Steps of training with batches of this size: those asked for, or fewer on a small panel."""
    return min(config.steps, max(SHORTEST, round(config.passes * panel.values.size / batch)))
