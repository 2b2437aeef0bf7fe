"""The engine's hook: scores all closed windows of all series at once, and hands what is severe to the episodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.database import Connection
from models.detectors.multi_view_bank import Readings
from models.detectors.views import VIEWS
from serving.alerts import calendar
from serving.alerts.anomaly import EVERYONE, SPEND, WHOLE, Anomaly
from serving.alerts.episodes import OPEN_AT, STAY_AT, Episodes, Reading
from serving.alerts.gate import Gate
from serving.alerts.intensity import Price, Rates, intensities, spends
from serving.alerts.series_bank import Drifted, SeriesBank
from serving.alerts.store import create, read_open, write
from serving.alerts.unit_prices import Row, UnitPrices, keep

DAY_S = 86_400.0
"""Spend a window has a rhythm of a day: it is judged once one is known; and so long a series counts as new."""

NEVER_JUDGED = -1.0
_KEEP = "INSERT INTO detectors VALUES (?, ?) ON CONFLICT (series) DO UPDATE SET state = excluded.state"


@dataclass(slots=True)
class Waiting:
    """What is to be written with the step: rows of the tables, in the order in which they came about."""

    unreadable: list[tuple[str]] = field(default_factory=list)
    prices: list[Row] = field(default_factory=list)
    anomalies: list[Anomaly] = field(default_factory=list)
    states: list[tuple[str, str]] = field(default_factory=list)


class DetectionHook:
    """Watches every (user, operation, micro-operation) by usage a run, and runs, operations, users and all by spend.

    Everything is kept in tables of the engine's database and commits with the engine's step.
    """

    def __init__(self, window_s: int, price: Price | None = None, gate: Gate | None = None) -> None:
        """Watch windows of one length; without ``price`` nothing is judged by money."""
        self.window_s = window_s
        self._rates = Rates(price) if price else None
        self._bank = SeriesBank()
        self._episodes = Episodes(window_s, price, gate or Gate(), self._daily_spend)
        self._planned: list[calendar.PlannedEvent] = []
        self._bars: dict[tuple[str, str], float] = {}
        self._prices = UnitPrices()
        self._waiting = Waiting()
        self._is_loaded = False

    def closed(self, window_s: int, rows: pl.DataFrame, connection: Connection) -> None:
        """Take in closed windows: score, learn and follow them; what has changed waits for `write`."""
        if window_s != self.window_s or rows.is_empty():
            return
        self._load(connection)
        start_ns = _start_ns(rows)
        windows = list(self._windows(rows))
        if self._rates is not None:
            self._waiting.prices += self._prices.see(self._rates.known, start_ns)
        self._planned, self._bars = calendar.events(connection), calendar.bars(connection, start_ns)
        names: dict[int, str] = {}
        for start_ns, frame in windows:
            names |= self._window(frame, start_ns)
        columns = np.array(sorted(names), np.intp)
        self._waiting.states += zip(
            (names[column] for column in columns.tolist()), self._bank.dump(columns), strict=True
        )

    def write(self, connection: Connection) -> None:
        """Write what `closed` has changed."""
        waiting, self._waiting = self._waiting, Waiting()
        connection.executemany("DELETE FROM detectors WHERE series = ?", waiting.unreadable)
        keep(connection, waiting.prices)
        for anomaly in waiting.anomalies:
            write(connection, anomaly)
        connection.executemany(_KEEP, waiting.states)

    def rolled_back(self) -> None:
        """Forget what was not committed; it is read again from the database."""
        self._is_loaded, self._waiting = False, Waiting()

    def _load(self, connection: Connection) -> None:
        if self._is_loaded:
            return
        create(connection)
        self._bank = SeriesBank()
        unreadable = self._bank.load(connection.execute("SELECT series, state FROM detectors").fetchall())
        self._waiting = Waiting(unreadable=[(name,) for name in unreadable])
        self._episodes.put(read_open(connection))
        self._prices.load(connection)
        self._is_loaded = True

    def _windows(self, rows: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
        """(start in ns, readings to make) of each window, in time order."""
        found = intensities(rows).drop("total")
        if self._rates is not None:
            found = pl.concat([found, spends(rows, self._rates).select(found.columns)])
        for (start,), frame in found.sort("window_start").group_by(["window_start"], maintain_order=True):
            yield int(start.timestamp()) * 1_000_000_000, frame

    def _window(self, frame: pl.DataFrame, start_ns: int) -> dict[int, str]:
        """Score and learn one window of all series; returns the names of the columns touched."""
        start_s = start_ns / 1e9
        keys = list(
            zip(
                *(frame[name].to_list() for name in ("user_id", "operation_id", "micro_operation_type", "resource")),
                strict=True,
            )
        )
        names = ["|".join(key) for key in keys]
        relatives = [f"{EVERYONE}|{key[1]}|{key[2]}|{key[3]}" if key[3] != SPEND else None for key in keys]
        columns = self._bank.columns(names, relatives, start_s)
        values = frame["value"].to_numpy()
        drifted = self._bank.turned(columns, start_s)
        readings = self._bank.step(columns, values, start_s)
        severity = self._judged(readings, keys, columns, start_ns)
        watched = self._episodes.watched
        wanted = (severity >= STAY_AT) | np.array([key[:2] in watched or (EVERYONE, key[1]) in watched for key in keys])
        runs = frame["runs"].to_list()
        found = [
            _reading(keys[index], float(values[index]), runs[index], readings, index, float(severity[index]))
            for index in np.flatnonzero(wanted & (severity != NEVER_JUDGED)).tolist()
        ]
        found += self._drifts(drifted, keys, columns, runs)
        found += self._drifting(keys, values, runs)
        found += self._risen(keys, values, runs, start_ns)
        found += self._new(keys, columns, values, start_s)
        self._waiting.anomalies += self._episodes.follow(found, start_ns)
        return dict(zip(columns.tolist(), names, strict=True))

    def _judged(
        self,
        readings: Readings,
        keys: list[tuple[str, str, str, str]],
        columns: NDArray[np.intp],
        start_ns: int,
    ) -> NDArray[np.float64]:
        """Severities after what people said: planned time is quiet, raised bars are higher; young spend waits."""
        severity = readings.severity
        is_spend = np.array([key[3] == SPEND for key in keys])
        severity = np.where(is_spend & (self._bank.age_s(columns, start_ns / 1e9) < DAY_S), NEVER_JUDGED, severity)
        if not self._planned and not self._bars:
            return severity
        for index in np.flatnonzero(severity >= STAY_AT).tolist():
            user, operation = keys[index][:2]
            if any(event.covers(user, operation, start_ns) for event in self._planned):
                severity[index] = 0.0
            severity[index] /= self._bars.get((user, operation), 1.0)
        return severity

    def _drifts(
        self,
        drifted: list[Drifted],
        keys: list[tuple[str, str, str, str]],
        columns: NDArray[np.intp],
        runs: list[float],
    ) -> list[Reading]:
        """Readings of levels that crept up: those of a run, which more customers do not raise."""
        at = {column: index for index, column in enumerate(columns.tolist())}
        found = []
        for one in drifted:
            key = keys[at[one.column]]
            if key[2] != WHOLE:
                window_runs = runs[at[one.column]]
                found.append(
                    Reading(*key, one.mean, window_runs, one.score, one.expected, "mean of a quarter day", "drift")
                )
        return found

    def _drifting(
        self, keys: list[tuple[str, str, str, str]], values: NDArray[np.float64], runs: list[float]
    ) -> list[Reading]:
        """Readings of drifts that are open, against what was usual before they were found."""
        at = {key: index for index, key in enumerate(keys)}
        found = []
        for one in self._episodes.drifting:
            key = (one.user, one.operation, one.micro_operation_type, one.resource)
            if key in at:
                index = at[key]
                figures = float(values[index]), runs[index], STAY_AT, one.expected
                found.append(Reading(*key, *figures, kind="drift"))
        return found

    def _risen(
        self, keys: list[tuple[str, str, str, str]], values: NDArray[np.float64], runs: list[float], start_ns: int
    ) -> list[Reading]:
        """Usage of units whose price has risen, by all users: what it costs more than it would have."""
        risen = self._prices.risen(start_ns)
        return [
            Reading(
                EVERYONE,
                WHOLE,
                key[2],
                key[3],
                now,
                float(values[index]) * runs[index],
                OPEN_AT,
                (before,) * 3,
                "unit price",
                "price",
            )
            for index, key in enumerate(keys if risen else ())
            if key[0] == EVERYONE
            for now, before in [risen.get(key[1:], (0.0, 0.0))]
            if now > before
        ]

    def _new(
        self,
        keys: list[tuple[str, str, str, str]],
        columns: NDArray[np.intp],
        values: NDArray[np.float64],
        start_s: float,
    ) -> list[Reading]:
        """Spend of users who came within the last day, where others have been there for longer."""
        if self._rates is None:
            return []
        ages = self._bank.age_s(columns, start_s)
        whole = next((index for index, key in enumerate(keys) if key[:2] == (EVERYONE, WHOLE)), None)
        if whole is None or ages[whole] < DAY_S:
            return []
        return [
            Reading(*keys[index], float(values[index]), 1.0, OPEN_AT, (0.0, 0.0, 0.0), "first seen", "new")
            for index in np.flatnonzero(ages < DAY_S).tolist()
            if keys[index][3] == SPEND and keys[index][1] == WHOLE
        ]

    def _daily_spend(self, user: str) -> float:
        """What a user, or all, usually spend in a day; of those without a past, what all do."""
        level, count = self._bank.level(f"{user}|{WHOLE}|{WHOLE}|{SPEND}")
        if count * self.window_s < DAY_S:
            level = max(level, self._bank.level(f"{EVERYONE}|{WHOLE}|{WHOLE}|{SPEND}")[0])
        return level * DAY_S / self.window_s


def _start_ns(rows: pl.DataFrame) -> int:
    """When the first of these windows starts."""
    return int(rows["window_start"].cast(pl.Int64).min() or 0)  # type: ignore[arg-type]


def _reading(
    key: tuple[str, str, str, str], value: float, runs: float, readings: Readings, index: int, severity: float
) -> Reading:
    expected = (float(readings.low[index]), float(readings.middle[index]), float(readings.high[index]))
    return Reading(*key, value, runs, severity, expected, VIEWS[int(readings.view[index])])
