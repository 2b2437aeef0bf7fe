"""Lightning does what the options say: resume, stop early, keep the best, profile."""

from __future__ import annotations

import math
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.forecasters.lstm import LstmConfig
from tests.models.forecasters.test_conformance import make_panel
from training.fit import fit_forecaster
from training.trainer import TrainerOptions, precision

HORIZON = 12
CONFIG = LstmConfig(hidden=8, context_seasons=2, batch_size=16, steps=40)


@pytest.mark.parametrize("patience", [0, 5])
def test_an_interrupted_training_resumes_as_if_it_had_not_been(tmp_path: Path, patience: int) -> None:
    """Steps that were done are not done again, the weights are the same to the last bit, and nothing is left over."""
    panel, options = make_panel(160), TrainerOptions(checkpoints=tmp_path / "checkpoints", patience=patience)
    whole = fit_forecaster("lstm", panel, HORIZON, CONFIG, options=replace(options, checkpoints=None))

    def interrupt(share: float, _loss: float) -> None:
        if math.isclose(share, 0.5):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit_forecaster("lstm", panel, HORIZON, CONFIG, interrupt, options=options)
    assert list(tmp_path.rglob("last.ckpt"))
    shares: list[float] = []
    resumed = fit_forecaster("lstm", panel, HORIZON, CONFIG, lambda share, _: shares.append(share), options=options)
    assert shares[0] > 0.5
    np.testing.assert_array_equal(resumed.quantiles(panel, HORIZON), whole.quantiles(panel, HORIZON))
    assert not list(tmp_path.iterdir())


def test_other_data_does_not_resume(tmp_path: Path) -> None:
    """A checkpoint belongs to its data and configuration: anything else starts from the first step."""
    options = TrainerOptions(checkpoints=tmp_path)

    def interrupt(share: float, _loss: float) -> None:
        if math.isclose(share, 0.5):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit_forecaster("lstm", make_panel(160), HORIZON, CONFIG, interrupt, options=options)
    for panel, config in ((make_panel(161), CONFIG), (make_panel(160), replace(CONFIG, seed=1))):
        shares: list[float] = []
        fit_forecaster("lstm", panel, HORIZON, config, lambda share, _: shares.append(share), options=options)  # noqa: B023
        assert len(shares) == CONFIG.steps


def test_training_ends_when_it_no_longer_helps() -> None:
    """A rate far too high makes the loss on what is held back rise: the rest of the steps is saved."""
    shares: list[float] = []
    config = replace(CONFIG, steps=400, learning_rate=0.5)
    options = TrainerOptions(patience=2, checks=40)
    fit_forecaster("lstm", make_panel(160), HORIZON, config, lambda share, _: shares.append(share), options=options)
    assert len(shares) < config.steps


def test_the_last_windows_are_held_back_for_early_stopping_only() -> None:
    """With patience the horizon before the two last seasons, which no network learns from, is watched; else learnt."""
    panel = make_panel(160)
    values = panel.values.copy()
    values[:, -2 * panel.season - HORIZON :] *= 3.0
    other = replace(panel, values=values)
    options = TrainerOptions(patience=100, checks=1)
    weights = [fit_forecaster("lstm", one, HORIZON, CONFIG, options=options).state().arrays for one in (panel, other)]
    for name, value in weights[0].items():
        np.testing.assert_array_equal(value, weights[1][name])
    learnt = [fit_forecaster("lstm", one, HORIZON, CONFIG).state().arrays for one in (panel, other)]
    assert any(not np.array_equal(value, learnt[1][name]) for name, value in learnt[0].items())


def test_one_batch_can_be_learnt_by_heart() -> None:
    """A network that is wired right brings the loss of a single batch down to a fraction."""
    losses: list[float] = []
    config = replace(CONFIG, hidden=32, steps=150, learning_rate=0.01)
    options = TrainerOptions(overfit_batch=True)
    fit_forecaster("lstm", make_panel(160), HORIZON, config, lambda _, loss: losses.append(loss), options=options)
    assert losses[-1] < 0.5 * losses[0]


def test_a_profile_says_what_took_how_long(tmp_path: Path) -> None:
    """Lightning's own table, in the file that was asked for."""
    options = TrainerOptions(profile=tmp_path / "profile.txt")
    fit_forecaster("lstm", make_panel(), HORIZON, replace(CONFIG, steps=2), options=options)
    assert "run_training_batch" in (tmp_path / "profile.txt").read_text()


def test_mixed_precision_is_taken_where_there_is_a_gpu() -> None:
    """`auto` never fails; a precision that this machine lacks is an error that says so."""
    if torch.cuda.is_available():
        assert precision(TrainerOptions()) in {"bf16-mixed", "16-mixed"}
        panel = make_panel(160)
        assert np.isfinite(fit_forecaster("lstm", panel, HORIZON, CONFIG).quantiles(panel, HORIZON)).all()
    else:
        assert precision(TrainerOptions()) == "32-true"
        with pytest.raises(ValueError, match="needs a GPU"):
            precision(TrainerOptions(precision="bf16-mixed"))
    assert precision(TrainerOptions(accelerator="cpu")) == "32-true"


def test_mixed_precision_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU would do, on the processor: layers in bfloat16; heads, loss and weights in 32 bits.

    oneDNN lacks such an LSTM on most processors, so PyTorch's own stands in for it.
    """
    panel = make_panel(160)
    plain = fit_forecaster("lstm", panel, HORIZON, CONFIG)
    monkeypatch.setattr("training.trainer.precision", lambda _options: "bf16-mixed")
    losses: list[float] = []
    with torch.backends.mkldnn.flags(enabled=False):
        mixed = fit_forecaster("lstm", panel, HORIZON, CONFIG, lambda _share, loss: losses.append(loss))
    assert len(losses) == CONFIG.steps
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert all(value.dtype == np.float32 for value in mixed.state().arrays.values())
    ours, theirs = (model.quantiles(panel, HORIZON)[0] for model in (mixed, plain))
    np.testing.assert_allclose(ours, theirs, rtol=0.1)
    assert (ours != theirs).any()
