"""Watches, while the server runs, whether the champion still forecasts as well as it did in its backtest."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.contracts import Forecaster
from models.drift import CERTAINTY, MARGIN, ROLLING, Drift, judge, live_cuts, live_losses, reach_of, reference_of
from models.forecasters.seasonal_naive import SeasonalNaive
from models.panel import Panel
from serving.accuracy_store import AccuracyStore, Measured
from serving.champion import ChampionWatch
from serving.estimating.forecasting import NANOSECONDS, TooLittleHistoryError, usage_panel
from serving.recurring import Recurring
from serving.storage.history import History

SLOWEST_S = 60.0
SHOWN = 50
"""Series listed, those forecast worst."""

RETRAIN = "metercast train {configuration} --if-drifted --promote --data {data}"
CONFIGURATIONS = {3600: "configs/train/hourly.yaml", 1: "configs/train/demo.yaml"}
"""What trains on windows of a length in seconds; of others there is one of the user's own."""


class DriftWatch(Recurring):
    """Measures the champion once a season of its windows, in a thread of its own; `report` says how it stands."""

    def __init__(
        self, champion: ChampionWatch, history: History, closed_until_ns: Callable[[int], int], store: AccuracyStore
    ) -> None:
        """``closed_until_ns`` tells the end of the last closed window of a length in seconds, 0 before the first."""
        super().__init__("metercast-drift", 0.0, "the champion's accuracy could not be measured")
        self._champion, self._history, self._closed_until_ns, self._store = champion, history, closed_until_ns, store

    def tick(self, now_ns: int) -> int:  # noqa: ARG002 -- windows, not the clock, tell what there is to measure
        """See `check`."""
        return self.check()

    def check(self) -> int:
        """Measure the champion from every origin that has ended since the last check; returns how many those were."""
        watched = self._watched()
        if watched is None:
            return 0
        forecaster, metadata = watched
        reach, window_ns = reach_of(metadata), int(metadata["window_s"]) * NANOSECONDS
        version, until_ns = str(metadata["version"]), self._closed_until_ns(int(metadata["window_s"]))
        done = set(self._store.origins_ns(version))
        if max(done, default=_trained_ns(metadata)) + reach * window_ns * (2 if done else 1) > until_ns:
            return 0
        try:
            panel = usage_panel(self._history, int(metadata["window_s"]), until_ns, season=int(metadata["season"]))
        except TooLittleHistoryError:
            return 0
        cuts = [cut for cut in live_cuts(panel, metadata) if int(panel.times_ns(1)[cut]) not in done][-ROLLING:]
        for cut in cuts:
            self._store.add(version, _measured(forecaster, panel, cut, reach))
        if cuts:
            self._store.keep_only(version, int(panel.times_ns(1)[cuts[-1]]) - 4 * ROLLING * reach * window_ns)
        return len(cuts)

    def report(self, user: str | None = None) -> dict[str, Any] | None:
        """How the champion does, over all series or those of a user; None while there is no champion."""
        watched = self._watched()
        if watched is None:
            return None
        metadata = watched[1]
        window_s = int(metadata["window_s"])
        rows = self._rows(metadata, user)
        losses, names = _matrix(rows)
        drift = judge(losses, reference_of(metadata))
        return {
            "version": str(metadata["version"]),
            "status": drift.status,
            "told": drift.told,
            "loss": _rounded(drift.loss),
            "reference": _rounded(drift.reference),
            "certainty": _rounded(drift.certainty),
            "margin": MARGIN,
            "certainty_needed": CERTAINTY,
            "window_s": window_s,
            "windows_ahead": reach_of(metadata),
            "origins": _by_origin(rows),
            "series": _by_series(rows, names),
            "suggestion": self._suggestion(window_s) if drift.status == "drifted" else None,
        }

    def verdict(self) -> Drift | None:
        """How the champion does over all series, without their figures; None while there is no champion."""
        watched = self._watched()
        return judge(_matrix(self._rows(watched[1], None))[0], reference_of(watched[1])) if watched else None

    def _rows(self, metadata: dict[str, Any], user: str | None) -> list[Measured]:
        """What was measured from the latest origins."""
        version = str(metadata["version"])
        origins = self._store.origins_ns(version)
        return self._store.rows(version, origins[-ROLLING:][0], user) if origins else []

    def _suggestion(self, window_s: int) -> str:
        configuration = CONFIGURATIONS.get(window_s, "CONFIG.yaml")
        return RETRAIN.format(configuration=configuration, data=self._champion.directory.parents[1])

    def _watched(self) -> tuple[Forecaster, dict[str, Any]] | None:
        """The champion, where its bundle says enough to be watched."""
        found = self._champion.current()
        needed = ("version", "window_s", "season", "horizon", "trained_until")
        return found if found is not None and all(found[1].get(name) is not None for name in needed) else None

    def pause_s(self) -> float:
        """A quarter of what the champion looks ahead, between a second and `SLOWEST_S`."""
        watched = self._watched()
        if watched is None:
            return SLOWEST_S / 6
        return min(SLOWEST_S, max(1.0, reach_of(watched[1]) * int(watched[1]["window_s"]) / 4))


def _trained_ns(metadata: dict[str, Any]) -> int:
    return round(datetime.fromisoformat(str(metadata["trained_until"])).timestamp() * 1e9)


def _measured(forecaster: Forecaster, panel: Panel, cut: int, reach: int) -> list[Measured]:
    """Losses from one origin; series without a scale (never moved before) have none."""
    losses = live_losses(forecaster, panel, cut, reach)
    naive = live_losses(SeasonalNaive().fit(panel.until(cut), reach), panel, cut, reach)
    origin_ns = int(panel.times_ns(1)[cut])
    return [
        Measured(origin_ns, panel.series[row], panel.tenants[row], float(losses[row]), _rounded(float(naive[row])))
        for row in np.flatnonzero(np.isfinite(losses))
    ]


def _matrix(rows: list[Measured]) -> tuple[NDArray[np.float64], list[str]]:
    """Losses (origins, series), NaN where there is none, and the names of the series."""
    origins = sorted({row.origin_ns for row in rows})
    names = sorted({row.series for row in rows})
    places = {name: place for place, name in enumerate(names)}, {origin: place for place, origin in enumerate(origins)}
    losses = np.full((len(origins), len(names)), np.nan)
    for row in rows:
        losses[places[1][row.origin_ns], places[0][row.series]] = row.loss
    return losses, names


def _by_origin(rows: list[Measured]) -> list[dict[str, Any]]:
    grouped: dict[int, list[Measured]] = defaultdict(list)
    for row in rows:
        grouped[row.origin_ns].append(row)
    return [
        {"origin": datetime.fromtimestamp(origin_ns / 1e9, UTC).isoformat(), "series": len(grouped[origin_ns])}
        | _means(grouped[origin_ns])
        for origin_ns in sorted(grouped)
    ]


def _by_series(rows: list[Measured], names: list[str]) -> list[dict[str, Any]]:
    """The series forecast worst, worst first."""
    grouped: dict[str, list[Measured]] = {name: [] for name in names}
    for row in rows:
        grouped[row.series].append(row)
    worst = sorted(names, key=lambda name: -sum(row.loss for row in grouped[name]) / len(grouped[name]))[:SHOWN]
    return [
        {"series": name, "user": grouped[name][0].user, "origins": len(grouped[name])} | _means(grouped[name])
        for name in worst
    ]


def _means(rows: list[Measured]) -> dict[str, float | None]:
    naive = [row.naive for row in rows if row.naive is not None]
    return {
        "loss": _rounded(sum(row.loss for row in rows) / len(rows)),
        "naive": _rounded(sum(naive) / len(naive)) if naive else None,
    }


def _rounded(value: float | None) -> float | None:
    return round(value, 6) if value is not None and np.isfinite(value) else None
