"""River's HalfSpaceTrees, for comparison: how empty the part of the range is that a value falls in."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np
from river import anomaly

from models.contracts import State
from models.detectors.views import BOUND

TREES, HEIGHT, WINDOW, SEED = 7, 5, 250, 7
"""Fewer and lower trees than River's defaults: 7 x 63 nodes with two counts each fit into 4 kB of state."""


class HalfSpaceTrees:
    """Values are scaled by the least and the greatest so far; see Tan, Ting and Liu (2011)."""

    name: ClassVar[str] = "half-space-trees"

    def __init__(self) -> None:
        self._model: Any = anomaly.HalfSpaceTrees(n_trees=TREES, height=HEIGHT, window_size=WINDOW, seed=SEED)
        self._low, self._high = math.inf, -math.inf

    def score_one(self, value: float, timestamp_s: float) -> float:  # noqa: ARG002
        """From 0 to 1; 0 before the first `WINDOW` values and for missing ones."""
        return max(0.0, float(self._model.score_one({"x": self._scaled(value)}))) if math.isfinite(value) else 0.0

    def learn_one(self, value: float, timestamp_s: float) -> None:  # noqa: ARG002
        """Take the value in; missing values are passed over."""
        if math.isfinite(value):
            self._low, self._high = min(self._low, value), max(self._high, value)
            self._model.learn_one({"x": self._scaled(value)})

    def expected(self) -> tuple[float, float, float]:
        """The least, the middle and the greatest so far, never below zero; it knows no better."""
        if self._low > self._high:
            return 0.0, 0.0, 0.0
        low, high = (min(max(bound, 0.0), BOUND) for bound in (self._low, self._high))
        return low, (low + high) / 2, high

    def state(self) -> State:
        """Counts of the nodes in depth-first order, and the range."""
        nodes = [node for tree in self._model._tree_nodes for node in tree]
        counts = np.array([(node.l_mass, node.r_mass) for node in nodes], dtype=np.uint16).reshape(-1, 2)
        document = {"counter": self._model.counter, "is_first_window": self._model._first_window}
        return State(document, {"counts": counts, "range": np.array([self._low, self._high])})

    @classmethod
    def restore(cls, state: State) -> Self:
        """The detector that `state` described."""
        detector = cls()
        detector._low, detector._high = state.arrays["range"].tolist()
        model, counts = detector._model, state.arrays["counts"].tolist()
        if counts:
            model.learn_one({"x": 0.5})  # trees grow with the first value, from a seed: always the same ones
            for node, (left, right) in zip((node for tree in model._tree_nodes for node in tree), counts, strict=True):
                node.l_mass, node.r_mass = left, right
        model.counter = int(state.document["counter"])
        model._first_window = bool(state.document["is_first_window"])
        return detector

    def _scaled(self, value: float) -> float:
        extent = min(self._high, BOUND) - max(self._low, -BOUND)
        return min(max((min(max(value, -BOUND), BOUND) - self._low) / extent, -1.0), 2.0) if extent > 0 else 0.5
