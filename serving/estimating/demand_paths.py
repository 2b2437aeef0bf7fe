"""Demand paths: sampled futures of the load through the published controller, as factors of windows to come."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.forecasters.markov import Markov
from models.panel import Panel
from serving.accounts.commerce import Commerce
from serving.estimating.forecasting import MINIMUM_WINDOWS
from serving.pricing.factors.demand import Demand

NANOSECONDS = 1_000_000_000
PATHS, CONTEXT, SEED = 100, 1_024, 7
"""Paths of the load (usage paths take them in turn), how many past values they see, and the seed."""
Array = NDArray[np.float64]


def demand_paths(commerce: Commerce, plan_id: str, demand: Demand, until_ns: int, ahead: tuple[int, int]) -> Array:
    """Mean factors (load paths, windows) of ``ahead`` = (window length in nanoseconds, windows) from an instant on.

    The load is forecast from its own measured past, apart from the user's usage. With too little of it, it stays as
    it was last measured.
    """
    window_ns, horizon = ahead
    step_s = max(demand.interval_s, window_ns // NANOSECONDS)
    steps = -(-horizon * window_ns // (step_s * NANOSECONDS))
    past = _past(commerce, demand, until_ns, step_s)
    if len(past) < MINIMUM_WINDOWS:
        last = past[-1] if len(past) else float(demand.target)
        loads = np.full((1, steps), last)
    else:
        season = max(1, min(86_400 // step_s, len(past) // 2))
        panel = Panel(("load",), ("system",), (demand.signal,), past[None, :], 0, step_s * NANOSECONDS, season)
        model = Markov().fit(panel, steps)
        loads = np.maximum(model.paths(panel, steps, PATHS, SEED)[:, 0, :], 0.0)
    state = commerce.prices.state(plan_id, demand)
    repeats = max(1, step_s // demand.interval_s)
    factors = controlled(demand, (float(state.load), float(state.factor)), loads, repeats)
    per_step = max(1, step_s * NANOSECONDS // window_ns)
    return np.repeat(factors, per_step, axis=1)[:, :horizon]


def controlled(demand: Demand, state: tuple[float, float], loads: Array, repeats: int) -> Array:
    """The controller's factors (paths, steps) for loads (paths, steps), each held for ``repeats`` intervals.

    As `serving.pricing.factors.demand.next_price`, on all paths at once and in floating point: a forecast of prices,
    never a price.
    """
    weight = 1 - 2.0 ** -(demand.interval_s / demand.half_life_s)
    smooth, factor = np.full(len(loads), state[0]), np.full(len(loads), state[1])
    step, target, elasticity = float(demand.max_step), float(demand.target), float(demand.elasticity)
    out = np.empty(loads.shape)
    for index in range(loads.shape[1]):
        total = np.zeros(len(loads))
        for _ in range(repeats):
            smooth += weight * (loads[:, index] - smooth)
            raw = 1 + elasticity * (smooth - target) / target
            factor = np.clip(np.clip(raw, factor - step, factor + step), float(demand.floor), float(demand.cap))
            total += factor
        out[:, index] = total / repeats
    return out


def _past(commerce: Commerce, demand: Demand, until_ns: int, step_s: int) -> Array:
    """The measured load by steps, oldest first; a step without a value has that of the one before."""
    rows = commerce.signals.values(demand.signal, until_ns - CONTEXT * step_s * NANOSECONDS, until_ns)
    if not rows:
        return np.zeros(0)
    frame = pl.DataFrame(rows, schema={"at": pl.Int64, "value": pl.Float64}, orient="row")
    slot = (pl.col("at") - rows[0][0]) // (step_s * NANOSECONDS)
    means = frame.group_by(slot.alias("slot")).agg(pl.col("value").mean())
    grid = pl.DataFrame({"slot": range(int(means["slot"].max()) + 1)}, schema={"slot": pl.Int64})  # type: ignore[arg-type]
    filled = grid.join(means, on="slot", how="left").sort("slot")["value"].forward_fill()
    return filled.to_numpy() / float(demand.capacity)
