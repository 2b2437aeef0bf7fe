"""What drives a forecast: how much it changes when a part of the past is taken away.

Occlusion (Zeiler & Fergus, 2014, of images): each of the last seasons in turn is replaced by the series' mean of the
other windows, and so its shape is gone while its level stays; what the forecast then loses or gains came from it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.contracts import LEVELS, Forecaster
from models.panel import Panel

Array = NDArray[np.float64]


def season_drivers(forecaster: Forecaster, panel: Panel, horizon: int, seasons: int = 6) -> pl.DataFrame:
    """Rows (series, seasons_back, total, without, change): the total's median as it is and without that season.

    ``change`` is relative to the total, 0 where nothing is forecast. Raises ValueError for a panel of one season.
    """
    reach = min(seasons, panel.windows // panel.season - 1)
    if reach < 1:
        raise ValueError(
            f"{panel.windows} windows are less than two seasons of {panel.season}; there is nothing to compare"
        )
    total = _median_totals(forecaster, panel, horizon)
    parts = []
    for back in range(1, reach + 1):
        end = panel.windows - (back - 1) * panel.season
        without = _median_totals(forecaster, _occluded(panel, end - panel.season, end), horizon)
        change = np.divide(total - without, total, out=np.zeros_like(total), where=total > 0)
        columns = {"series": list(panel.series), "seasons_back": back, "total": total, "without": without}
        parts.append(pl.DataFrame(columns | {"change": change}))
    return pl.concat(parts)


def level_sensitivity(forecaster: Forecaster, panel: Panel, horizon: int, factor: float = 1.2) -> pl.DataFrame:
    """Rows (series, total, changed, elasticity): what follows from the last season times ``factor``.

    An elasticity of 1 takes the change over as it is, 0 ignores it.
    """
    values = panel.values.copy()
    values[:, -panel.season :] *= factor
    total = _median_totals(forecaster, panel, horizon)
    changed = _median_totals(forecaster, replace(panel, values=values), horizon)
    relative = np.divide(changed, total, out=np.ones_like(total), where=total > 0) - 1
    columns = {"series": list(panel.series), "total": total, "changed": changed, "elasticity": relative / (factor - 1)}
    return pl.DataFrame(columns).sort("total", descending=True)


def _median_totals(forecaster: Forecaster, panel: Panel, horizon: int) -> Array:
    return forecaster.forecast(panel, horizon).totals[:, LEVELS.index(0.5)]


def _occluded(panel: Panel, start: int, end: int) -> Panel:
    """The panel with windows from ``start`` to ``end`` at each series' mean of the others."""
    values = panel.values.copy()
    kept = np.delete(values, np.s_[start:end], axis=1)
    known = np.isfinite(kept)
    mean = np.where(known, kept, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    values[:, start:end] = mean[:, None]
    return replace(panel, values=values)
