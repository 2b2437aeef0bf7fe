"""Networks trained in this run, so that the LSTM and the ensemble it is a member of train it once."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from models.forecasters.lstm import LstmConfig
from models.forecasters.lstm_data import Shape
from models.forecasters.lstm_network import LstmNetwork
from models.panel import Panel
from training.fingerprint import fingerprint

Trainer = Callable[[LstmNetwork, Panel, Shape, LstmConfig], None]
Key = tuple[str, Shape, LstmConfig]


class TrainedNetworks:
    """Weights by data, shape and configuration, which (with the seed in it) decide them; others are trained anew."""

    def __init__(self) -> None:
        self._weights: dict[Key, dict[str, Tensor]] = {}

    def around(self, trainer: Trainer) -> Trainer:
        """A trainer that remembers what the given one makes."""

        def train(network: LstmNetwork, panel: Panel, shape: Shape, config: LstmConfig) -> None:
            key = (fingerprint(panel), shape, config)
            known = self._weights.get(key)
            if known is None:
                trainer(network, panel, shape, config)
                self._weights[key] = {name: value.detach().clone() for name, value in network.state_dict().items()}
            else:
                network.load_state_dict(known)

        return train
