"""Training is repeatable, and is not repeated where it need not be."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch

from models.forecasters.lstm import LstmConfig
from tests.models.forecasters.test_conformance import make_panel
from training.fit import fit_forecaster
from training.memory import TrainedNetworks
from training.trainer import TrainerOptions

CONFIG = LstmConfig(hidden=8, context_seasons=2, batch_size=16, steps=5)


def test_a_seed_decides_the_weights() -> None:
    """Same data, configuration and seed: the same forecast to the last bit; another seed: another one."""
    panel = make_panel()
    runs = [fit_forecaster("lstm", panel, 6, CONFIG).quantiles(panel, 6) for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    other = fit_forecaster("lstm", panel, 6, LstmConfig(**(_fields(CONFIG) | {"seed": 1}))).quantiles(panel, 6)
    assert not np.array_equal(runs[0], other)


def test_lstm_and_ensemble_share_what_was_trained(tmp_path: Path) -> None:
    """The ensemble's member is the LSTM trained before it, and the ensemble forecasts as if it had trained its own."""
    panel, networks = make_panel(), TrainedNetworks()
    trained, told = [], {}
    for name, part in (("lstm", panel), ("ensemble", panel), ("again", panel.until(panel.windows - 6))):
        told[name] = []
        options = TrainerOptions(profile=tmp_path / name)
        kind = "lstm" if name == "again" else name
        collect = functools.partial(_collect, told[name])
        model = fit_forecaster(kind, part, 6, CONFIG, collect, networks=networks, options=options)
        trained += [name] if (tmp_path / name).is_file() else []
        if name == "ensemble":
            alone = fit_forecaster("ensemble", panel, 6, CONFIG)
            np.testing.assert_array_equal(model.quantiles(panel, 6), alone.quantiles(panel, 6))
    assert trained == ["lstm", "again"], "one training for both; other data is trained anew"
    assert told["lstm"] == told["ensemble"] != told["again"], "whoever shares a network has its losses too"
    assert len(told["lstm"]) == CONFIG.steps


def _collect(losses: list[float], _share: float, loss: float) -> None:
    losses.append(loss)


def test_threads_are_given_back() -> None:
    """A program that trains and then computes keeps its own setting."""
    before = torch.get_num_threads()
    fit_forecaster("markov", make_panel(), 6)
    assert torch.get_num_threads() == before


def _fields(config: LstmConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in LstmConfig.__dataclass_fields__}
