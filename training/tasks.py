"""A backtest task: a table of series and, beside it, a JSON file with window, season, horizon and origins."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.usage_files import UsageFileError
from models.contracts import LEVELS
from models.panel import Panel
from training.data import mapped

Array = NDArray[np.float64]
_UNITS_S = {"s": 1, "m": 60, "min": 60, "t": 60, "h": 3600, "d": 86_400, "w": 604_800}
"""Seconds of a unit; capitals mean the same, but for M, which elsewhere is a month."""


class TaskError(ValueError):
    """A task that cannot be run; the message has the file, what was found and what is needed."""


@dataclass(frozen=True, slots=True)
class Task:
    """The panel, the windows at which forecasts start (cuts), their moments, and how far they reach."""

    name: str
    panel: Panel
    cuts: tuple[int, ...]
    origins: tuple[datetime, ...]
    horizon: int


def load_task(path: Path) -> Task:
    """Read TASK.parquet (or CSV) and TASK.json; raises TaskError for files or origins that do not fit."""
    manifest = path.with_suffix(".json")
    try:
        document = json.loads(manifest.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TaskError(
            f"{manifest} does not exist; it says window, season, horizon and origins of {path.name}"
        ) from error
    except (json.JSONDecodeError, OSError) as error:
        raise TaskError(f"{manifest}: {error}") from error
    missing = [key for key in ("window", "season", "horizon", "origins") if key not in document]
    if missing:
        raise TaskError(f"{manifest} lacks {', '.join(missing)}")
    levels = tuple(document.get("quantiles", LEVELS))
    if not set(levels) <= set(LEVELS):
        raise TaskError(f"{manifest}: quantiles {levels} are asked, but forecasts have {LEVELS}")
    window, season, horizon = (_whole(document, key, manifest) for key in ("window", "season", "horizon"))
    try:
        panel = mapped(path, window, season)
    except (UsageFileError, ValueError) as error:
        raise TaskError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    origins = _origins(document["origins"], manifest)
    cuts = tuple(_cut(panel, origin, manifest) for origin in origins)
    return Task(path.stem, panel, cuts, origins, horizon)


def window_ns(text: object, manifest: Path) -> int:
    """``1h``, ``10s`` or ``5T`` in nanoseconds; raises TaskError for other words."""
    found = re.fullmatch(r"(\d*)\s*([A-Za-z]+)", str(text).strip())
    unit = found[2].lower() if found is not None and found[2] != "M" else ""
    count = int(found[1] or 1) if found is not None else 0
    if unit not in _UNITS_S or count < 1:
        raise TaskError(f"{manifest}: window {text!r} is no length of time; write e.g. 1h, 10min or 30s")
    return count * _UNITS_S[unit] * 1_000_000_000


def forecast_frame(task: Task, cut: int, steps: Array) -> pl.DataFrame:
    """Rows (series, origin, step, q0.1 ... q0.9) of one origin's quantiles (series, horizon, levels)."""
    count = len(task.panel.series)
    origin = task.origins[task.cuts.index(cut)]
    return pl.DataFrame(
        {
            "series": np.repeat(np.asarray(task.panel.series), task.horizon),
            "origin": pl.Series([origin]).extend_constant(origin, count * task.horizon - 1),
            "step": np.tile(np.arange(1, task.horizon + 1), count),
            **{f"q{level:g}": steps[..., place].ravel() for place, level in enumerate(LEVELS)},
        }
    )


def totals_frame(task: Task, cut: int, totals: Array) -> pl.DataFrame:
    """Rows (series, origin, q0.1 ... q0.9) of one origin's totals (series, levels)."""
    columns = {f"q{level:g}": totals[:, place] for place, level in enumerate(LEVELS)}
    origin = [task.origins[task.cuts.index(cut)]] * len(task.panel.series)
    return pl.DataFrame({"series": list(task.panel.series), "origin": origin, **columns})


def _whole(document: dict[str, Any], key: str, manifest: Path) -> int:
    """A whole number of the manifest, the window in nanoseconds; raises TaskError."""
    value = document[key]
    if key == "window":
        return window_ns(value, manifest)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not float(value).is_integer() or value < 1:
        why = "1 where nothing repeats" if key == "season" else "windows ahead"
        raise TaskError(f"{manifest}: {key} is {value!r}; it is a whole number of windows from 1 on ({why})")
    return int(value)


def _origins(texts: object, manifest: Path) -> tuple[datetime, ...]:
    """The moments that forecasts start at; raises TaskError."""
    given = texts if isinstance(texts, list) else []
    try:
        origins = tuple(datetime.fromisoformat(text) for text in given)
    except (TypeError, ValueError) as error:
        raise TaskError(f"{manifest}: {error}; write origins as 2026-01-31T13:00:00Z") from error
    if not origins or len(set(origins)) != len(origins):
        raise TaskError(f"{manifest}: origins is {texts!r}; it is a list of moments, each named once")
    return origins


def _cut(panel: Panel, origin: datetime, manifest: Path) -> int:
    origin = origin if origin.tzinfo else origin.replace(tzinfo=UTC)
    cut, rest = divmod(int(origin.timestamp()) * 1_000_000_000 - panel.start_ns, panel.window_ns)
    if rest or not 1 <= cut <= panel.windows:
        raise TaskError(
            f"{manifest}: origin {origin.isoformat()} is no window between {panel.time_of(1).isoformat()} and "
            f"{panel.time_of(panel.windows).isoformat()}"
        )
    return cut
