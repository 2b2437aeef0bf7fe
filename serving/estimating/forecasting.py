"""From windows of usage to forecasts: the panel a model sees at this moment, and its sample futures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.series import all_series
from models.contracts import LEVELS, Forecaster
from models.forecasters.markov import Markov
from models.panel import Panel
from serving.champion import ChampionWatch
from serving.storage.history import History

NANOSECONDS = 1_000_000_000
MINIMUM_WINDOWS = 12
LONGEST_REACH = 30
CONTEXT_WINDOWS = 1_024


class TooLittleHistoryError(ValueError):
    """There is too little usage to forecast from; ``missing_windows`` says how much more is needed."""

    def __init__(self, message: str, missing_windows: int) -> None:
        super().__init__(message)
        self.missing_windows = missing_windows


@dataclass(frozen=True, slots=True)
class Model:
    """The forecaster in use and what is known of it; ``version`` is None for the untrained stand-in."""

    forecaster: Forecaster
    metadata: dict[str, Any]

    @property
    def window_s(self) -> int | None:
        """The window the model was trained on, in seconds; None means any."""
        value = self.metadata.get("window_s")
        return int(value) if value is not None else None

    @property
    def season(self) -> int | None:
        """The windows of one season that the model was trained on; None means those usual for its windows."""
        value = self.metadata.get("season")
        return int(value) if value is not None else None

    def describe(self) -> dict[str, Any]:
        """Name, version and backtest, as estimates carry them."""
        keys = ("name", "version", "window_s", "trained_until", "backtest")
        return {key: self.metadata.get(key) for key in keys}


def model_in_force(watch: ChampionWatch) -> Model:
    """The champion, or an untrained Markov chain, which is the best cold start, while none has been promoted."""
    found = watch.current()
    if found is not None:
        return Model(*found)
    return Model(Markov(), {"name": Markov.name, "version": None, "backtest": None})


def usage_panel(
    history: History,
    window_s: int,
    until_ns: int,
    user: str | None = None,
    season: int | None = None,
    wanted: Callable[[str], bool] | None = None,
) -> Panel:
    """Every series used in the last `CONTEXT_WINDOWS` windows before ``until_ns``, from the beginning of a season on.

    ``season`` is the model's, in windows; by default that of windows of this length. ``wanted`` says of which
    resources and meters; with it the panel may have no series at all.
    Windows without usage count as zero up to ``until_ns``. Raises TooLittleHistoryError when there are fewer than
    `MINIMUM_WINDOWS` since the first usage.
    """
    window_ns = window_s * NANOSECONDS
    end_ns = until_ns - until_ns % window_ns
    season = season or _season(window_s)
    # A whole season: for as long as it lasts, a model that learns as windows end sees the same past go on.
    start_ns = (end_ns - CONTEXT_WINDOWS * window_ns) // (season * window_ns) * (season * window_ns)
    frame = history.windows(window_s, start_ns, end_ns, user=user)
    series = all_series(frame, window_ns, wanted) if not frame.is_empty() else pl.DataFrame()
    if frame.is_empty() or (wanted is None and series.is_empty()):
        whom = f"user {user!r}" if user else "anyone"
        raise TooLittleHistoryError(
            f"too little history: no usage of {whom} in the last {CONTEXT_WINDOWS} closed windows of {window_s} s",
            MINIMUM_WINDOWS,
        )
    panel = _padded(_panel(series, frame, window_ns, season), end_ns)
    if panel.windows < MINIMUM_WINDOWS:
        missing = MINIMUM_WINDOWS - panel.windows
        raise TooLittleHistoryError(
            f"{panel.windows} windows of {window_s} s since the first usage, at least {MINIMUM_WINDOWS} are needed; "
            f"wait {missing * window_s} s",
            missing,
        )
    return panel


def sample_futures(model: Model, panel: Panel, horizon: int, count: int, seed: int) -> NDArray[np.float64]:
    """Sample futures of the panel, shape (count, series, horizon), non-negative.

    Raises TooLittleHistoryError when the horizon is more than `LONGEST_REACH` times the history.
    """
    _check_reach(panel, horizon)
    if not panel.series or not horizon:
        return np.zeros((count, len(panel.series), horizon))
    forecaster = _ready(model, panel, horizon)
    return np.maximum(forecaster.paths(panel, horizon, count, seed), 0.0)


def quantiles(model: Model, panel: Panel, horizon: int) -> NDArray[np.float64]:
    """Quantiles of every window to come, shape (series, horizon, levels), levels as in `models.contracts.LEVELS`."""
    _check_reach(panel, horizon)
    return _ready(model, panel, horizon).forecast(panel, horizon).steps


def forecast_usage(
    watch: ChampionWatch, history: History, window_s: int, horizon: int, until_ns: int, user: str | None = None
) -> dict[str, Any]:
    """Forecast of every series of a user (or of everyone) as a document: history, quantiles, and the model used."""
    model = model_in_force(watch)
    panel = usage_panel(history, model.window_s or window_s, until_ns, user, model.season)
    steps = quantiles(model, panel, horizon)
    return {
        "model": model.describe(),
        "window_s": panel.window_ns // NANOSECONDS,
        "data_until_ns": int(panel.times_ns(1)[-1]),
        "horizon": horizon,
        "levels": list(LEVELS),
        "series": [
            {
                "series": name,
                "user": panel.tenants[row],
                "resource": panel.resources[row],
                "start_ns": panel.start_ns,
                "past": [round(float(value), 6) for value in np.nan_to_num(panel.values[row])],
                "quantiles": steps[row].round(6).tolist(),
            }
            for row, name in enumerate(panel.series)
        ],
    }


def _ready(model: Model, panel: Panel, horizon: int) -> Forecaster:
    return model.forecaster if model.metadata.get("version") is not None else model.forecaster.fit(panel, horizon)


def _check_reach(panel: Panel, horizon: int) -> None:
    if horizon > LONGEST_REACH * panel.windows:
        missing = -(-horizon // LONGEST_REACH) - panel.windows
        raise TooLittleHistoryError(
            f"{panel.windows} windows of history are too few to look {horizon} windows ahead "
            f"(at most {LONGEST_REACH} times the history); {missing} more windows are needed",
            missing,
        )


def _panel(series: pl.DataFrame, frame: pl.DataFrame, window_ns: int, season: int) -> Panel:
    if not series.is_empty():
        return Panel.from_frame(series, window_ns, season)
    first_ns, last_ns = (int(value) for value in frame["window_start"].cast(pl.Int64).sort()[[0, -1]])
    return Panel((), (), (), np.zeros((0, (last_ns - first_ns) // window_ns + 1)), first_ns, window_ns, season)


def _padded(panel: Panel, end_ns: int) -> Panel:
    """The panel up to ``end_ns``: nothing recorded in a closed window means nothing was used."""
    width = (end_ns - panel.start_ns) // panel.window_ns
    values = np.zeros((len(panel.series), max(width, panel.windows)))
    values[:, : panel.windows] = np.nan_to_num(panel.values)
    return Panel(panel.series, panel.tenants, panel.resources, values, panel.start_ns, panel.window_ns, panel.season)


def _season(window_s: int) -> int:
    """How many windows one season has: a day of hours, an hour of minutes, a minute of seconds."""
    return {3600: 24, 60: 60, 10: 6}.get(window_s, 60 if window_s < 60 else max(1, 86_400 // window_s))
