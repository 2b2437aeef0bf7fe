"""What a forecaster and a detector promise; everything else in this room is written against these two protocols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from models.panel import Panel

LEVELS: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The quantile levels of every forecast."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Quantiles of the next windows: steps (series, horizon, levels), totals over the horizon (series, levels)."""

    levels: tuple[float, ...]
    steps: NDArray[np.float64]
    totals: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class State:
    """All that a model needs to live on: a JSON document and named arrays; never a pickle, never a class path."""

    document: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


@runtime_checkable
class Forecaster(Protocol):
    """A model of many series at once; it sees a panel up to the origin and nothing after."""

    name: ClassVar[str]

    def fit(self, panel: Panel, horizon: int) -> Self:
        """Learn from the panel (all of it is past); returns itself."""
        ...

    def forecast(self, panel: Panel, horizon: int) -> Forecast:
        """Quantiles of the ``horizon`` windows after the panel's last; non-negative, finite, sorted by level."""
        ...

    def quantiles(self, panel: Panel, horizon: int) -> NDArray[np.float64]:
        """The steps of `forecast` alone, (series, horizon, levels); cheaper, as no paths are drawn for totals."""
        ...

    def paths(self, panel: Panel, horizon: int, count: int, seed: int) -> NDArray[np.float64]:
        """Sample futures of shape (count, series, horizon), dependent in time and within a tenant."""
        ...

    def state(self) -> State:
        """What `restore` needs."""
        ...

    @classmethod
    def restore(cls, state: State) -> Self:
        """The model that `state` described."""
        ...


@runtime_checkable
class Detector(Protocol):
    """An online detector of one series: score a window first, then learn it."""

    name: ClassVar[str]

    def score_one(self, value: float, timestamp_s: float) -> float:
        """How surprising the value is, >= 0 and comparable over series; never uses this or a later value's label."""
        ...

    def learn_one(self, value: float, timestamp_s: float) -> None:
        """Take the value into the baseline."""
        ...

    def expected(self) -> tuple[float, float, float]:
        """(low, middle, high) of the next value, for the explanation of an alert and its cost."""
        ...

    def state(self) -> State:
        """What `restore` needs; at most 4 kB."""
        ...

    @classmethod
    def restore(cls, state: State) -> Self:
        """The detector that `state` described."""
        ...
