"""Networks trained in this run, so that the LSTM and the ensemble it is a member of train it once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from torch import Tensor

from models.forecasters.lstm import LstmConfig
from models.forecasters.lstm_data import Shape
from models.forecasters.lstm_network import LstmNetwork
from models.panel import Panel
from training.fingerprint import fingerprint
from training.trainer import Progress, TrainerOptions

Trainer = Callable[[LstmNetwork, Panel, Shape, LstmConfig], None]
Key = tuple[str, Shape, LstmConfig]


@dataclass(slots=True)
class _Training:
    """What came of a training, and what it told of itself on the way."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    steps: list[tuple[float, float]] = field(default_factory=list)
    checks: list[tuple[int, float]] = field(default_factory=list)

    def tell(self, progress: Progress | None, checked: Callable[[int, float], None] | None) -> None:
        """Once more all that was told: the losses are those of whoever gets the weights, too."""
        for share, loss in self.steps:
            if progress is not None:
                progress(share, loss)
        for number, loss in self.checks:
            if checked is not None:
                checked(number, loss)


class TrainedNetworks:
    """Weights by data, shape and configuration, which (with the seed in it) decide them; others are trained anew."""

    def __init__(self) -> None:
        self._known: dict[Key, _Training] = {}

    def around(
        self,
        trainer: Callable[[TrainerOptions, Progress], Trainer],
        options: TrainerOptions,
        progress: Progress | None = None,
    ) -> Trainer:
        """A trainer that remembers what the given one makes, and tells its losses anew where it was made before."""

        def train(network: LstmNetwork, panel: Panel, shape: Shape, config: LstmConfig) -> None:
            key = (fingerprint(panel), shape, config)
            known = self._known.get(key)
            if known is not None:
                network.load_state_dict(known.weights)
                known.tell(progress, options.checked)
                return
            made = _Training()

            def step(share: float, loss: float) -> None:
                made.steps.append((share, loss))
                if progress is not None:
                    progress(share, loss)

            def check(number: int, loss: float) -> None:
                made.checks.append((number, loss))
                if options.checked is not None:
                    options.checked(number, loss)

            trainer(replace(options, checked=check), step)(network, panel, shape, config)
            made.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}
            self._known[key] = made

        return train
