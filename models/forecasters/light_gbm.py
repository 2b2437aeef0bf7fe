"""LightGBM as a challenger: one set of boosted trees a quantile, for all series and steps (Ke et al., 2017).

Registered where lightgbm is installed (`pip install metercast-platform[challengers]`). Each series is normalised by the
level and spread of its own context; trees see values of past seasons, the recent level, the phase and how far ahead.
"""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from models.contracts import LEVELS, Forecast, State
from models.dependence import Dependence, estimate, scores, total_quantiles
from models.panel import Panel
from models.paths import sample_paths
from models.quantiles import tidy

Array = NDArray[np.float64]

IS_INSTALLED = find_spec("lightgbm") is not None
ROWS = 40_000
"""At most so many (series, origin, step) are learnt from."""

ROUNDS = 80
SETTING: dict[str, Any] = {
    "objective": "quantile",
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "num_threads": 1,
    "seed": 0,
    "deterministic": True,
    "verbosity": -1,
}
CONTEXT_SEASONS = 7
ORIGINS = 4


class LightGbm:
    """Boosted trees, direct for every step; see the module's docstring."""

    name: ClassVar[str] = "lightgbm"

    def __init__(self) -> None:
        self._boosters: list[Any] = []
        self._dependence = Dependence()

    def fit(self, panel: Panel, horizon: int) -> Self:
        """Learn from random origins of the panel, then measure the dependence at the last ones; returns itself."""
        import lightgbm

        features, target = _examples(panel, horizon)
        self._boosters = []
        for level in LEVELS:
            data = lightgbm.Dataset(features, target)
            self._boosters.append(lightgbm.train(SETTING | {"alpha": level}, data, ROUNDS))
        self._dependence = self._measured(panel, horizon)
        return self

    def forecast(self, panel: Panel, horizon: int) -> Forecast:
        """Quantiles of the next windows and of their sum."""
        steps = self.quantiles(panel, horizon)
        return Forecast(LEVELS, steps, total_quantiles(steps, self._dependence))

    def quantiles(self, panel: Panel, horizon: int) -> Array:
        """Quantiles of the next windows alone: (series, horizon, levels)."""
        count = len(panel.series)
        rows = np.repeat(np.arange(count), horizon)
        steps = np.tile(np.arange(horizon), count)
        features, level, scale = _features(panel, rows, np.full(len(rows), panel.windows), steps)
        made = np.stack([booster.predict(features, num_threads=1) for booster in self._boosters], axis=1)
        quantiles = made * scale[:, None] + level[:, None]
        quantiles[scale == 0] = level[scale == 0, None]
        return tidy(quantiles.reshape(count, horizon, len(LEVELS)))

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> Array:
        """Sample futures of shape (count, series, horizon)."""
        return sample_paths(self.quantiles(panel, horizon), self._dependence, panel.tenants, count, seed)

    def state(self) -> State:
        """The trees in LightGBM's own text form, and the dependence."""
        trees = [booster.model_to_string() for booster in self._boosters]
        return State({"trees": trees, "dependence": asdict(self._dependence)}, {})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The model that `state` described."""
        import lightgbm

        model = cls()
        model._boosters = [lightgbm.Booster(model_str=text) for text in state.document["trees"]]
        model._dependence = Dependence(**state.document["dependence"])
        return model

    def _measured(self, panel: Panel, horizon: int) -> Dependence:
        """The dependence of errors at the last origins; on data trained on, hence of shape, not of size."""
        reach = max(1, min(horizon, panel.windows // (ORIGINS + 2)))
        cuts = [panel.windows - back * reach for back in range(ORIGINS, 0, -1)]
        found = [
            scores(panel.values[:, cut : cut + reach], self.quantiles(panel.until(cut), reach))
            for cut in cuts
            if cut >= 2
        ]
        return estimate(np.stack(found), panel.tenants) if found else Dependence()


def _examples(panel: Panel, horizon: int) -> tuple[Array, Array]:
    """Features and normalised targets of random series, origins and steps, all inside the panel."""
    random = np.random.default_rng(0)
    count = min(ROWS, 4 * panel.values.size)
    rows = random.integers(0, len(panel.series), count)
    cuts = random.integers(min(2, panel.windows - 1), panel.windows, count)
    steps = random.integers(0, np.maximum(np.minimum(horizon, panel.windows - cuts), 1))
    features, level, scale = _features(panel, rows, cuts, steps)
    target = panel.values[rows, cuts + steps]
    kept = np.isfinite(target) & (scale > 0)
    normal = (target[kept] - level[kept]) / scale[kept]
    if not kept.any():  # nothing ever moved: any tree will do
        return np.zeros((2, features.shape[1])), np.zeros(2)
    return features[kept], np.clip(normal, -20, 20)


def _features(
    panel: Panel, rows: NDArray[np.int64], cuts: NDArray[np.int64], steps: NDArray[np.int64]
) -> tuple[Array, Array, Array]:
    """Features (n, f), and level and scale (n,) of each context; nothing from a cut on enters them."""
    season = panel.season
    width = CONTEXT_SEASONS * season
    offsets = cuts[:, None] - width + np.arange(width)[None, :]
    context = np.where(offsets >= 0, panel.values[rows[:, None], np.maximum(offsets, 0)], np.nan)
    known = np.isfinite(context)
    filled = np.where(known, context, 0.0)
    count = np.maximum(known.sum(axis=1), 1)
    level = filled.sum(axis=1) / count
    scale = np.sqrt((np.where(known, context - level[:, None], 0.0) ** 2).sum(axis=1) / count)
    safe = np.where(scale > 0, scale, 1.0)
    normal = np.where(known, (context - level[:, None]) / safe[:, None], np.nan)
    place = width - season + steps % season
    same = [normal[np.arange(len(rows)), place - back * season] for back in range(CONTEXT_SEASONS)]
    recent = [normal[:, -1], normal[:, -2], _mean(normal[:, -3:]), _mean(normal[:, -season:])]
    spread = [np.quantile(np.nan_to_num(normal), share, axis=1) for share in (0.1, 0.5, 0.9)]
    index = panel.start_ns // panel.window_ns + cuts + steps
    phase = 2 * np.pi * (index % season) / season
    columns = [*same, _mean(np.stack(same, axis=1)), *recent, *spread, np.sin(phase), np.cos(phase), steps, count]
    return np.stack(columns, axis=1).astype(np.float64), level, np.where(scale > 1e-9 * np.abs(level), scale, 0.0)


def _mean(values: Array) -> Array:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(known.any(axis=1), total / np.maximum(known.sum(axis=1), 1), np.nan)
