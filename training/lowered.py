"""Series that fall below zero, as net flows and temperatures do: forecast from a zero of their own that lies lower.

Models take usage, which is never negative. A series that was negative before the first origin is lifted by as much as
keeps half of its range free below, and its forecasts are lowered again; all other series are left as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.contracts import Forecast
from models.panel import Panel

Array = NDArray[np.float64]
ROOM = 0.5
"""So much of a series' range lies between its lowest value and its own zero."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """How far below zero the zero of each series lies (series,); 0 for one that was never negative."""

    depth: Array

    @classmethod
    def of(cls, past: Panel) -> Self:
        """The zeros that fit what is known before the first origin."""
        low = np.nanmin(past.values, axis=1, initial=0.0)  # 0 where nothing is known or nothing is negative
        high = np.nanmax(past.values, axis=1, initial=-np.inf, where=low[:, None] < 0)
        return cls(np.where(low < 0, ROOM * (high - low) - low, 0.0))

    def lifted(self, panel: Panel) -> Panel:
        """A panel counted from these zeros; the same panel where none is lower."""
        if not self.depth.any():
            return panel
        return replace(panel, values=panel.values + self.depth[:, None])

    def lowered(self, forecast: Forecast) -> Forecast:
        """A forecast of a lifted panel, as it is."""
        horizon = forecast.steps.shape[1]
        steps = forecast.steps - self.depth[:, None, None]
        return replace(forecast, steps=steps, totals=forecast.totals - horizon * self.depth[:, None])
