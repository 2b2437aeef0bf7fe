"""The engine's hook that scores closed windows, opens and closes episodes, and says what they cost."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np
import polars as pl

from features.database import Connection
from models.contracts import Detector, State
from models.detectors.registry import DETECTORS
from serving.alerts.anomaly import EVERYONE, Anomaly
from serving.alerts.intensity import intensities
from serving.alerts.store import create, read_open, write

_logger = logging.getLogger(__name__)
OPEN_AT, STAY_AT = 18.0, 8.0
"""Nats of surprise that open an episode, and that keep one open."""

QUIET_WINDOWS = 8
"""So many windows below `STAY_AT` end an episode."""

Price = Callable[[str, Mapping[tuple[str, str], float]], tuple[Decimal, str]]
"""(operation, excess by (micro-operation type, resource)) -> amount and currency."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One series in one window: usage a run, the surprise of it, and what was expected."""

    user: str
    operation: str
    micro: str
    resource: str
    value: float
    runs: float
    score: float
    expected: tuple[float, float, float]


class DetectionHook:
    """Scores every (user, operation, micro-operation) and every operation over all users, by usage a run.

    An operation has at most one open episode over all users; its users have episodes of their own only beside that.
    """

    def __init__(self, window_s: int, detector: str = "multi-view", price: Price | None = None) -> None:
        """Watch windows of one length; raises KeyError for a detector that is not registered."""
        self.window_s = window_s
        self._kind = DETECTORS[detector]
        self._price = price
        self._detectors: dict[str, Detector] | None = None
        self._open: dict[tuple[str, str], Anomaly] = {}

    def closed(self, window_s: int, rows: pl.DataFrame, connection: Connection) -> None:
        """Take in closed windows; everything changed is written on the engine's connection."""
        if window_s != self.window_s:
            return
        detectors = self._loaded(connection)
        touched: set[str] = set()
        for (start,), frame in intensities(rows).group_by(["window_start"], maintain_order=True):
            start_ns = int(start.timestamp()) * 1_000_000_000
            readings = [self._read(detectors, touched, row, start_ns) for row in frame.iter_rows(named=True)]
            self._follow(readings, start_ns, connection)
        states = ((series, _dump(detectors[series].state())) for series in touched)
        connection.executemany(
            "INSERT INTO detectors VALUES (?, ?) ON CONFLICT (series) DO UPDATE SET state = excluded.state", states
        )

    def rolled_back(self) -> None:
        """Forget what was not committed; it is read again from the database."""
        self._detectors = None
        self._open = {}

    def _loaded(self, connection: Connection) -> dict[str, Detector]:
        if self._detectors is None:
            create(connection)
            found = connection.execute("SELECT series, state FROM detectors").fetchall()
            self._detectors = self._restored(found)
            self._open = {(anomaly.user, anomaly.operation): anomaly for anomaly in read_open(connection)}
        return self._detectors

    def _restored(self, found: list[tuple[str, str]]) -> dict[str, Detector]:
        """Detectors from their states; one that another version wrote starts anew instead of stopping the engine."""
        detectors: dict[str, Detector] = {}
        for series, state in found:
            try:
                detectors[series] = self._kind.restore(_parse(state))
            except (KeyError, TypeError, ValueError) as error:
                _logger.warning("detector of %s starts anew, its state is of another version: %r", series, error)
        return detectors

    def _read(
        self, detectors: dict[str, Detector], touched: set[str], row: dict[str, object], start_ns: int
    ) -> Reading:
        user, operation, micro = str(row["user_id"]), str(row["operation_id"]), str(row["micro_operation_type"])
        series = f"{user}|{operation}|{micro}"
        detector = detectors.get(series)
        if detector is None:
            detector = detectors[series] = self._kind()
        touched.add(series)
        value = float(row["value"])  # type: ignore[arg-type]
        score, expected = detector.score_one(value, start_ns / 1e9), detector.expected()
        detector.learn_one(value, start_ns / 1e9)
        runs = float(row["runs"])  # type: ignore[arg-type]
        return Reading(user, operation, micro, str(row["resource"]), value, runs, score, expected)

    def _follow(self, readings: list[Reading], start_ns: int, connection: Connection) -> None:
        """Open, continue and end episodes with the readings of one window; operations over all users come first."""
        groups: dict[tuple[str, str], list[Reading]] = {}
        for reading in readings:
            groups.setdefault((reading.user, reading.operation), []).append(reading)
        for key in sorted(groups, key=lambda key: (key[0] != EVERYONE, key)):
            high = max((r for r in groups[key] if r.value > r.expected[2]), key=lambda r: r.score, default=None)
            episode = self._open.get(key)
            covered = key[0] != EVERYONE and (EVERYONE, key[1]) in self._open
            if episode is None and high is not None and high.score >= OPEN_AT and not covered:
                episode = self._opened(high, start_ns)
            elif episode is None or high is None or high.score < STAY_AT:
                continue
            self._open[key] = episode = self._grown(episode, groups[key], high, start_ns)
            write(connection, episode)
        self._end_quiet(start_ns, connection)

    def _opened(self, high: Reading, start_ns: int) -> Anomaly:
        name = f"{high.user}|{high.operation}|{start_ns}"
        return Anomaly(
            id=hashlib.sha256(name.encode()).hexdigest()[:16],
            user=high.user,
            operation=high.operation,
            micro_operation_type=high.micro,
            resource=high.resource,
            started_ns=start_ns,
            last_ns=start_ns,
            ended_ns=None,
            score=0.0,
            observed=high.value,
            expected=high.expected,
        )

    def _grown(self, episode: Anomaly, readings: list[Reading], high: Reading, start_ns: int) -> Anomaly:
        excess = dict(episode.excess)
        for reading in readings:
            beyond = (reading.value - reading.expected[1]) * reading.runs
            if beyond > 0 and reading.score >= STAY_AT:
                key = (reading.micro, reading.resource)
                excess[key] = excess.get(key, 0.0) + beyond
        cost, currency = self._price(episode.operation, excess) if self._price else (None, "")
        episode = replace(episode, last_ns=start_ns + self.window_s * 1_000_000_000, excess=excess, cost=cost)
        episode = replace(episode, currency=currency)
        main = self._main(episode, readings)
        if main is not None and (main.micro != episode.micro_operation_type or main.value > episode.observed):
            episode = replace(
                episode,
                micro_operation_type=main.micro,
                resource=main.resource,
                observed=main.value,
                expected=main.expected,
            )
        return replace(episode, score=round(max(high.score, episode.score), 3))

    def _main(self, episode: Anomaly, readings: list[Reading]) -> Reading | None:
        """The reading of the resource that has cost most so far; without prices, of the greatest surprise."""
        found = [
            one
            for one in readings
            if one.score >= STAY_AT and one.value > one.expected[2] and (one.micro, one.resource) in episode.excess
        ]

        price = self._price
        if price is None or not episode.excess:
            return max(found, key=lambda one: one.score, default=None)
        # Over the whole episode: what merely lingers in its last window must not give it its name.
        dearest = max(episode.excess, key=lambda key: price(episode.operation, {key: episode.excess[key]})[0])
        return next((one for one in found if (one.micro, one.resource) == dearest), None)

    def _end_quiet(self, start_ns: int, connection: Connection) -> None:
        patience_ns = QUIET_WINDOWS * self.window_s * 1_000_000_000
        for key, episode in list(self._open.items()):
            if start_ns - episode.last_ns >= patience_ns:
                del self._open[key]
                write(connection, replace(episode, ended_ns=episode.last_ns))


def _dump(state: State) -> str:
    arrays = {name: np.asarray(value).tolist() for name, value in state.arrays.items()}
    return json.dumps({"document": dict(state.document), "arrays": arrays})


def _parse(text: str) -> State:
    found = json.loads(text)
    return State(found["document"], {name: np.asarray(value) for name, value in found["arrays"].items()})
