"""The LSTM's forward pass for forecasts: what torch does layer by layer, with compiled passes between its products.

Half of the time of a forecast went into functions of single elements, each with arrays of its own to write to. What
comes out is what `LstmNetwork` gives, to the precision of 32 bits; where nothing was compiled, or the encoder has
several layers, that is what computes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.contracts import LEVELS
from models.forecasters.lstm_network import CANDIDATES, NORMAL, LstmNetwork, asinh, with_tails
from models.quantiles import tidy

try:
    from models import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

Array = NDArray[np.float64]
IS_COMPILED = _kernels is not None
STEPS = 3072
"""So many steps of all series are decoded at a time, so that what is computed stays in the processor's cache."""

_SCORES: NDArray[np.float32] = np.array(NORMAL, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a network as products of matrices want them; ``size`` is its hidden size."""

    size: int
    cell: Tensor
    cell_bias: NDArray[np.float32]
    once: Tensor
    once_bias: Tensor
    first: Tensor
    second: Tensor
    second_bias: NDArray[np.float32]
    heads: Tensor
    heads_bias: Tensor


def prepared(network: LstmNetwork) -> Weights | None:
    """The weights of a network for `outputs`; None where torch has to compute it."""
    if not IS_COMPILED or network.encoder.num_layers > 1:
        return None
    size, cell = network.encoder.hidden_size, dict(network.encoder.named_parameters())
    first, second = network.decoder[0], network.decoder[2]
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    return Weights(
        size,
        torch.cat([cell["weight_ih_l0"], cell["weight_hh_l0"]], dim=1).detach().T.contiguous(),
        (cell["bias_ih_l0"] + cell["bias_hh_l0"]).detach().numpy(),
        first.weight[:, :size].detach().T.contiguous(),
        first.bias.detach(),
        first.weight[:, size:].detach().T.contiguous(),
        second.weight.detach().T.contiguous(),
        second.bias.detach().numpy(),
        torch.cat([network.head.weight, network.tails.weight]).detach().T.contiguous(),
        torch.cat([network.head.bias, network.tails.bias]).detach(),
    )


def outputs(network: LstmNetwork, weights: Weights | None, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Normalised quantiles of every step, with tails (batch, horizon, levels), and of their mean (batch, levels).

    ``inputs`` are those of `models.forecasters.lstm_data.Seen`; call it without gradients.
    """
    context, steps, traits, codes = inputs
    if weights is None:
        out = network(context, steps, traits, codes)
        return with_tails(out), out.mean
    summary = network.summarised(_encoded(network, weights, context), _spread(context), traits, codes)
    once = torch.addmm(weights.once_bias, summary, weights.once)
    rows = max(1, STEPS // max(1, steps.shape[1]))
    parts = [_decoded(weights, steps[at : at + rows], once[at : at + rows]) for at in range(0, len(steps), rows)]
    found = torch.cat(parts)
    level = steps[..., :CANDIDATES].mean(dim=1)
    median = found[..., network.middle].mean(dim=1, keepdim=True)
    raw = network.total(torch.cat([summary, asinh(level)], dim=1))
    return found, _quantiles(raw, torch.cat([level, median], dim=1), CANDIDATES + 1, tailed=False)


def _spread(context: Tensor) -> Tensor:
    """The context's quantiles (batch, levels), which NumPy puts in order several times faster than torch."""
    ranked = np.sort(context[..., 0].numpy(), axis=1)
    place = np.asarray(LEVELS) * (ranked.shape[1] - 1)
    low = place.astype(np.int64)
    high = np.minimum(low + 1, ranked.shape[1] - 1)
    return torch.as_tensor(ranked[:, low] + (place - low) * (ranked[:, high] - ranked[:, low]), dtype=torch.float32)


def _encoded(network: LstmNetwork, weights: Weights, context: Tensor) -> Tensor:
    """The encoder's last output (batch, size): in each step one product, of the inputs and the last output together."""
    patches = network.patches(context).transpose(0, 1)
    steps, rows, given = patches.shape
    line = torch.zeros(steps + 1, rows, given + weights.size)
    line[:steps, :, :given] = patches
    gates = torch.empty(rows, 4 * weights.size)
    state = np.zeros((rows, weights.size), dtype=np.float32)
    for step in range(steps):
        torch.mm(line[step], weights.cell, out=gates)
        sizes = (step, steps, rows, given, weights.size)
        _kernels.lstm_cell(gates.numpy(), weights.cell_bias, state, line.numpy(), *sizes)
    return line[steps, :, given:]


def _decoded(weights: Weights, steps: Tensor, once: Tensor) -> Tensor:
    """Quantiles (rows, horizon, levels) of every step, of some series."""
    rows, horizon, width = steps.shape
    known = steps.reshape(rows * horizon, width).contiguous()
    given = torch.empty_like(known)
    _kernels.asinh(known.numpy(), given.numpy(), rows * horizon, width, CANDIDATES)
    hidden = given @ weights.first
    _kernels.gelu(hidden.numpy(), once.numpy(), rows, horizon, weights.size)
    hidden = hidden @ weights.second
    _kernels.gelu(hidden.numpy(), weights.second_bias, 1, rows * horizon, weights.size)
    raw = torch.addmm(weights.heads_bias, hidden, weights.heads)
    return _quantiles(raw, known, CANDIDATES, tailed=True).reshape(rows, horizon, -1)


def _quantiles(raw: Tensor, guesses: Tensor, count: int, *, tailed: bool) -> Tensor:
    """Rising quantiles (rows, levels) by what the heads say (rows, ...) and the first ``count`` columns of guesses."""
    out = torch.empty(len(raw), len(LEVELS))
    given = raw.numpy(), guesses.contiguous().numpy(), _SCORES, out.numpy()
    _kernels.quantile_heads(*given, len(raw), raw.shape[1], count, guesses.shape[1], tailed)
    return out


def restored(values: Tensor, scale: Array, level: Array) -> Array:
    """Normalised quantiles (series, horizon, levels) on the scale (series, 1) of their series; rising, not negative."""
    if not IS_COMPILED:
        return tidy(values.double().numpy() * scale[:, :, None] + level[:, :, None])
    out = np.empty(values.shape)
    given = values.contiguous().numpy(), np.ascontiguousarray(scale), np.ascontiguousarray(level), out
    _kernels.unscaled(*given, *values.shape)
    return out
