"""Drift of accuracy: whether a model in service forecasts worse than it did in its backtest, by more than chance.

Once a season the model forecasts one season (or its horizon, where that is shorter) from what was known at the time,
and the scaled pinball loss of what then came is kept. The mean over the latest of these origins is compared with the
same figure of the backtest: drift is told where a bootstrap over series (Efron & Tibshirani, 1993) is sure enough that
it has risen by more than the margin that seasons differ by anyway.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.contracts import Forecaster
from models.losses import scaled_pinball
from models.panel import Panel

Array = NDArray[np.float64]

ROLLING = 7
"""The latest so many origins count: a week of days."""

FEWEST = 3
"""With fewer origins nothing is said."""

MARGIN = 0.25
"""A loss this much above the backtest's is what drift begins at."""

CERTAINTY = 0.95
DRAWS = 1000
FEWEST_SERIES = 5
"""With fewer series, series and origin together are what is drawn."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What is known: ``loss`` over the latest ``origins``, the backtest's ``reference``, and how sure drift is."""

    status: Literal["unknown", "waiting", "steady", "drifted"]
    origins: int
    loss: float | None = None
    reference: float | None = None
    certainty: float | None = None

    @property
    def told(self) -> str:
        """One sentence for whoever runs the platform."""
        if self.status == "unknown":
            return "Its backtest does not say how well it forecasts a season ahead; train it anew to watch for drift."
        if self.loss is None or self.reference is None or self.certainty is None:
            return f"Seen from {self.origins} of at least {FEWEST} moments since it was trained; too few to say."
        change = self.loss / self.reference - 1 if self.reference > 0 else 0.0
        away = f"{abs(change):.0%} {'above' if change > 0 else 'below'}" if change else "against"
        compared = f"{away} the {self.reference:.3g} of its backtest"
        verdict = (
            f"{self.certainty:.0%} sure to be more than {MARGIN:.0%} above: retraining is worth it"
            if self.status == "drifted"
            else "within what chance and season explain"
        )
        return f"Its scaled pinball loss is {self.loss:.3g} lately, {compared}; {verdict}."


def reach_of(metadata: Mapping[str, Any]) -> int:
    """How many windows ahead a model is watched: a season, or its horizon where that is shorter."""
    return max(1, min(int(metadata["season"]), int(metadata["horizon"])))


def reference_of(metadata: Mapping[str, Any]) -> float | None:
    """The backtest's loss as far ahead as a model is watched, where its bundle says."""
    value = (metadata.get("watched") or {}).get("scaled_pinball")
    return float(value) if value is not None else None


def live_cuts(panel: Panel, metadata: Mapping[str, Any]) -> Iterator[int]:
    """Windows of a panel from which the model is watched: a reach apart since it was trained, all ended by now."""
    reach = reach_of(metadata)
    trained_ns = round(datetime.fromisoformat(str(metadata["trained_until"])).timestamp() * 1e9)
    first = max(0, -(-(trained_ns - panel.start_ns) // panel.window_ns))
    fewest = max(2, panel.season // 2)
    cuts = range(first, panel.windows - reach + 1, reach)
    yield from (cut for cut in cuts if cut >= fewest)


def live_losses(forecaster: Forecaster, panel: Panel, cut: int, reach: int) -> Array:
    """The scaled pinball loss of every series (series,) in the ``reach`` windows after ``cut``, seen from there."""
    past = panel.until(cut)
    steps = forecaster.quantiles(past, reach)
    return scaled_pinball(past.values, panel.values[:, cut : cut + reach], steps, panel.season)


def judge(losses: Array, reference: float | None, seed: int = 0) -> Drift:
    """What losses (origins, series), NaN where there is none, say against the backtest's."""
    losses = losses[-ROLLING:]
    seen = int(np.isfinite(losses).any(axis=1).sum())
    if reference is None:
        return Drift("unknown", seen)
    if seen < FEWEST:
        return Drift("waiting", seen)
    known = np.isfinite(losses)
    if losses.shape[1] >= FEWEST_SERIES:
        total, count = np.where(known, losses, 0.0).sum(axis=0), known.sum(axis=0)
    else:
        total, count = np.where(known, losses, 0.0).ravel(), known.ravel().astype(np.int64)
    drawn = np.random.default_rng(seed).integers(0, len(total), (DRAWS, len(total)))
    means = total[drawn].sum(axis=1) / np.maximum(count[drawn].sum(axis=1), 1)
    certainty = float((means > (1 + MARGIN) * reference).mean())
    loss = float(total.sum() / count.sum())
    return Drift("drifted" if certainty >= CERTAINTY else "steady", seen, loss, reference, certainty)
