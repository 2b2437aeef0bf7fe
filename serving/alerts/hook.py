"""The engine's hook: scores all closed windows of all series at once, and hands what is severe to the episodes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.database import Connection
from features.window_rows import WindowRows
from models.detectors.multi_view_bank import Readings
from models.detectors.views import VIEWS
from serving.alerts import calendar
from serving.alerts import watch_list as of
from serving.alerts.anomaly import EVERYONE, SPEND, WHOLE, Anomaly
from serving.alerts.detector_store import DetectorStore, DetectorWrite, Learnt
from serving.alerts.episodes import OPEN_AT, STAY_AT, Episodes, Reading
from serving.alerts.gate import Gate
from serving.alerts.intensity import Price, Rates
from serving.alerts.masks import NEVER_JUDGED, Masks
from serving.alerts.retirement import SILENCE_DAYS, stay
from serving.alerts.series_bank import Drifted, SeriesBank
from serving.alerts.store import create, read_open, write
from serving.alerts.unit_prices import Row, UnitPrices, keep
from serving.alerts.watch_list import WatchList
from serving.alerts.window_values import Values, WindowValues, edges

DAY_S = 86_400.0
"""Spend a window has a rhythm of a day: it is judged once one is known; and so long a series counts as new."""

FULL_RATE_S = 60
"""Windows shorter than this need more to open an episode."""


@dataclass(slots=True)
class Waiting:
    """What is to be written with the step: rows of the tables, and the latest of each anomaly."""

    prices: list[Row] = field(default_factory=list)
    anomalies: dict[str, Anomaly] = field(default_factory=dict)
    detectors: DetectorWrite | None = None


class DetectionHook:
    """Watches every (user, operation, micro-operation) by usage a run, and runs, operations, users and all by spend.

    Everything is kept in tables of the engine's database and commits with the engine's step. A window costs a few
    passes over arrays; only what is severe, or belongs to an open episode, becomes an object.
    """

    def __init__(
        self,
        window_s: int,
        price: Price | None = None,
        gate: Gate | None = None,
        silence_days: int = SILENCE_DAYS,
    ) -> None:
        """Watch windows of one length; without ``price`` nothing is judged by money.

        Series without a value for ``silence_days`` are forgotten, see `retirement`.
        """
        self.window_s = window_s
        # Sixty times as many windows must not mean sixty times as many alarms: each must be so much rarer.
        self._rate = max(1.0, FULL_RATE_S / window_s)
        self._rates = Rates(price) if price else None
        self._episodes = Episodes(window_s, price, gate or Gate(), self._daily_spend)
        self._silence_days = silence_days
        self._waiting = Waiting()
        self._is_loaded = False

    def closed(self, window_s: int, rows: WindowRows, names: pl.DataFrame, connection: Connection) -> None:
        """Take in closed windows: score, learn and follow them; what has changed waits for `write`."""
        if window_s != self.window_s or not len(rows):
            return
        self._load(connection)
        start_ns = int(rows.starts_ns[0])
        self._watched.take_in(rows.series, names)
        self._bank.grow(len(self._watched))
        if self._rates is not None:
            self._waiting.prices += self._prices.see(self._rates.known, start_ns)
        said = calendar.events(connection), calendar.bars(connection, start_ns)
        self._masks = Masks(self._watched, *said)
        learnt = Learnt()
        for first, end in edges(rows.starts_ns):
            if self._forget_silent(int(rows.starts_ns[first]) / 1e9):
                self._watched.take_in(rows.series, names)
                self._bank.grow(len(self._watched))
                self._masks = Masks(self._watched, *said)
            values = self._values.of(rows.take(slice(first, end)), with_money=self._rates is not None)
            self._window(values, int(rows.starts_ns[first]), learnt)
        self._waiting.detectors = self._store.prepared(self._bank, self._watched.keys, learnt)

    def write(self, connection: Connection) -> None:
        """Write what `closed` has changed."""
        waiting, self._waiting = self._waiting, Waiting()
        keep(connection, waiting.prices)
        for anomaly in waiting.anomalies.values():
            write(connection, anomaly)
        if waiting.detectors is not None:
            self._store.write(connection, waiting.detectors)

    def rolled_back(self) -> None:
        """Forget what was not committed; it is read again from the database."""
        self._is_loaded, self._waiting = False, Waiting()

    def _load(self, connection: Connection) -> None:
        if self._is_loaded:
            return
        create(connection)
        self._bank, self._store, self._prices = SeriesBank(self._rate), DetectorStore(), UnitPrices()
        self._watched = WatchList(self._rates, self._store.load(connection, self._bank))
        self._values, self._waiting = WindowValues(self._watched), Waiting()
        self._episodes.put(read_open(connection))
        self._prices.load(connection)
        self._is_loaded = True

    def _forget_silent(self, start_s: float) -> bool:
        """Go on without the series that were silent for long; False where there are none, or it is no new day."""
        kept = stay(self._bank, start_s, self._silence_days)
        if kept is None:
            return False
        bank = SeriesBank(self._rate)
        bank.grow(len(kept))
        bank.put(slice(0, len(kept)), self._bank.rows(kept))
        keys = [self._watched.keys[column] for column in kept.tolist()]
        self._bank, self._watched = bank, WatchList(self._rates, enumerate(keys))
        self._values = WindowValues(self._watched)
        self._store.renumber()
        return True

    def _window(self, window: Values, start_ns: int, learnt: Learnt) -> None:
        """Score, learn and follow one window of all series."""
        start_s = start_ns / 1e9
        columns = window.columns
        planned = self._masks.planned(columns, start_ns)
        values = np.where(planned, np.nan, window.values)  # what was planned is not learnt
        levels = self._bank.levels(columns)
        priors = self._bank.begin(columns, self._watched.series.of(of.RELATIVE, columns), start_s)
        readings, drifted = self._bank.step(columns, values, start_s)
        learnt.add(start_ns, columns, values, priors)
        severity = self._judged(readings, columns, start_s)
        if self._masks:
            severity = self._masks.laid_over(window, levels, severity, planned)
        found = [
            self._reading(window, readings, index, float(severity[index]))
            for index in self._wanted(columns, severity).tolist()
        ]
        found += self._drifts(drifted, window)
        found.sort(key=lambda one: (one.user, one.operation, one.micro, one.resource))
        found += self._drifting(window)
        found += self._risen(window, start_ns)
        found += self._new(window, start_s, planned)
        for anomaly in self._episodes.follow(found, start_ns):
            self._waiting.anomalies[anomaly.id] = anomaly

    def _judged(self, readings: Readings, columns: NDArray[np.intp], start_s: float) -> NDArray[np.float64]:
        """Severities, but for spend that is too young to have shown its rhythm."""
        is_young = self._bank.age_s(columns, start_s) < DAY_S
        is_spend = self._watched.series.of(of.IS_SPEND, columns) > 0
        return np.where(is_spend & is_young, NEVER_JUDGED, readings.severity)

    def _wanted(self, columns: NDArray[np.intp], severity: NDArray[np.float64]) -> NDArray[np.intp]:
        """Which readings episodes may need: severe ones, and all of open episodes, where something may come of them.

        Something may where an episode is open, or a reading severe enough to open one: at the node of the reading, or
        at one of those above it that it may be a share of.
        """
        watched = self._watched
        is_open = np.zeros(watched.nodes.size, np.bool_)
        known = (watched.node(*key) for key in self._episodes.watched)
        is_open[[node for node in known if node is not None]] = True
        node = watched.series.of(of.NODE, columns)
        everyone, whole = (watched.nodes.of(field, node) for field in (of.EVERYONE_OF, of.WHOLE_OF))
        wanted = (severity >= STAY_AT) | ((is_open[node] | is_open[everyone]) & (severity != NEVER_JUDGED))
        is_open[node[severity >= OPEN_AT]] = True
        return np.flatnonzero(wanted & (is_open[node] | is_open[everyone] | is_open[whole]))

    def _reading(self, window: Values, readings: Readings, index: int, severity: float) -> Reading:
        return Reading(
            *self._watched.keys[int(window.columns[index])],
            value=float(window.values[index]),
            runs=float(window.runs[index]),
            severity=severity,
            expected=(float(readings.low[index]), float(readings.middle[index]), float(readings.high[index])),
            view=VIEWS[int(readings.view[index])],
        )

    def _drifts(self, drifted: Drifted, window: Values) -> list[Reading]:
        """Readings of levels that crept up: those of a run, which more customers do not raise."""
        if not len(drifted.columns):
            return []
        runs = dict(zip(window.columns.tolist(), window.runs.tolist(), strict=True))
        is_money = self._watched.series.of(of.IS_MONEY, drifted.columns) > 0
        found = []
        for index in np.flatnonzero(~is_money).tolist():
            column = int(drifted.columns[index])
            low, middle, high = drifted.expected[:, index].tolist()
            found.append(
                Reading(
                    *self._watched.keys[column],
                    value=float(drifted.means[index]),
                    runs=runs[column],
                    severity=float(drifted.scores[index]) / self._masks.bar(*self._watched.keys[column][:2]),
                    expected=(low, middle, high),
                    view="mean of a quarter day",
                    kind="drift",
                )
            )
        return found

    def _drifting(self, window: Values) -> list[Reading]:
        """Readings of drifts that are open, against what was usual before they were found."""
        found = []
        for one in self._episodes.drifting:
            key = (one.user, one.operation, one.micro_operation_type, one.resource)
            for index in np.flatnonzero(window.columns == self._watched.column(key)).tolist():
                figures = float(window.values[index]), float(window.runs[index]), STAY_AT, one.expected
                found.append(Reading(*key, *figures, kind="drift"))
        return found

    def _risen(self, window: Values, start_ns: int) -> list[Reading]:
        """Usage of units whose price has risen, by all users: what it costs more than it would have."""
        found = []
        for key, (now, before) in self._prices.risen(start_ns).items():
            column = self._watched.column((EVERYONE, *key))
            for index in np.flatnonzero(window.columns == column).tolist():
                used = float(window.values[index] * window.runs[index])
                expected = before, before, before
                one = Reading(EVERYONE, WHOLE, *key[1:], now, used, OPEN_AT, expected, "unit price", "price")
                found.append(one)
        return found

    def _new(self, window: Values, start_s: float, planned: NDArray[np.bool_]) -> list[Reading]:
        """Spend that has no past yet, by the widest node it is new to; none on the first day of all.

        A user who came within the last day; an operation that a known user has begun to use, where others had it
        before; or one that nobody had.
        """
        nodes, whole = self._watched.nodes, self._watched.node(EVERYONE, WHOLE)
        if self._rates is None or whole is None or not self._spend_age_s(np.array([whole]), start_s)[0] >= DAY_S:
            return []
        node = self._watched.series.of(of.NODE, window.columns)
        user, operation = nodes.of(of.WHOLE_OF, node), nodes.of(of.EVERYONE_OF, node)
        is_spend = (self._watched.series.of(of.IS_SPEND, window.columns) > 0) & (node != whole)
        is_young = self._bank.age_s(window.columns, start_s) < DAY_S
        is_known = self._spend_age_s(user, start_s) >= DAY_S
        a_run = nodes.of(of.SPEND_A_RUN_OF, operation)
        is_used = self._bank.age_s(a_run, start_s) >= DAY_S
        found = is_spend & is_young & ((user == node) | (is_known & is_used))
        # Of an operation that is new to all there is no spend of a window, but that of a run: runs times it.
        found |= (window.columns == a_run) & is_young
        return [
            Reading(key[0], key[1], WHOLE, SPEND, spent, 1.0, OPEN_AT, (0.0, 0.0, 0.0), "first seen", "new")
            for index in np.flatnonzero(found & ~planned).tolist()
            for key in [self._watched.keys[int(window.columns[index])]]
            for spent in [float(window.values[index] * window.runs[index])]
        ]

    def _spend_age_s(self, nodes: NDArray[np.intp], start_s: float) -> NDArray[np.float64]:
        """Seconds since each node first spent anything; NaN for those that never did."""
        return self._bank.age_s(self._watched.nodes.of(of.SPEND_OF, nodes), start_s)

    def _daily_spend(self, user: str) -> float:
        """What a user, or all, usually spend in a day; of those without a past, what all do."""
        level, count = self._spend_level(user)
        if count * self.window_s < DAY_S:
            level = max(level, self._spend_level(EVERYONE)[0])
        return level * DAY_S / self.window_s

    def _spend_level(self, user: str) -> tuple[float, int]:
        column = self._watched.column((user, WHOLE, WHOLE, SPEND))
        return self._bank.level(column) if column is not None else (0.0, 0)
