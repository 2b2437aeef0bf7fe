"""All watched series of an engine: their detectors as columns of one array, their drift tests, and their beginnings."""

from __future__ import annotations

import logging
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.contracts import State
from models.detectors import views
from models.detectors.multi_view_bank import MultiViewBank, Readings
from models.detectors.slow_drift import PERIOD_S, SlowDrift

_logger = logging.getLogger(__name__)
Floats = NDArray[np.float64]
FIRST_S, PERIOD, SUM, VALUES = range(4)
"""Beside the detector's row: when a series was first seen, and the sum of the quarter of a day under way."""

DRIFT_NUMBERS = len(SlowDrift().state().arrays["numbers"])
PRIOR_COUNT, PRIOR_SEEN = 30, 64
"""A prior from a relative counts as so many values of one's own, and so many for the records."""


class Drifted(NamedTuple):
    """A series whose level crept up: what the last quarter of a day had on average, and what was usual before."""

    column: int
    score: float
    mean: float
    expected: tuple[float, float, float]


class SeriesBank:
    """Columns by name; a new series starts from its relative's baseline, as far as that has one."""

    def __init__(self) -> None:
        self._columns: dict[str, int] = {}
        self._bank = MultiViewBank()
        self._own = np.zeros((4, 0))
        self._drifts: dict[int, SlowDrift] = {}

    def __len__(self) -> int:
        return len(self._columns)

    def columns(self, names: Sequence[str], relatives: Sequence[str | None], timestamp_s: float) -> NDArray[np.intp]:
        """The columns of these series; those not seen before are made, warm where a relative is."""
        known = self._columns
        found = [known.get(name, -1) for name in names]
        for index, column in enumerate(found):
            if column < 0:
                relative = relatives[index]
                found[index] = self._add(names[index], known.get(relative) if relative else None, timestamp_s)
        return np.array(found, dtype=np.intp)

    def step(self, columns: NDArray[np.intp], values: Floats, timestamp_s: float) -> Readings:
        """Score and learn one value of each of these series."""
        self._own[SUM, columns] += np.where(np.isfinite(values), values, 0.0)
        self._own[VALUES, columns] += np.isfinite(values)
        self._own[PERIOD, columns] = timestamp_s // PERIOD_S
        return self._bank.step(columns, values, timestamp_s)

    def turned(self, columns: NDArray[np.intp], timestamp_s: float) -> list[Drifted]:
        """Close quarters of a day that are over for these series, before `step`; returns what has crept up."""
        period = timestamp_s // PERIOD_S
        over = columns[(self._own[PERIOD, columns] != period) & (self._own[VALUES, columns] > 0)]
        drifted = []
        for column in over.tolist():
            test = self._drifts.setdefault(column, SlowDrift())
            _, last, total, values = self._own[:, column].tolist()
            expected_before = test.usual(int(last))
            score = test.take(int(last), total, int(values))
            if score >= 1:
                drifted.append(Drifted(column, score, total / values, expected_before))
        self._own[SUM, over], self._own[VALUES, over] = 0.0, 0.0
        return drifted

    def age_s(self, columns: NDArray[np.intp], timestamp_s: float) -> Floats:
        """Seconds since each series was first seen."""
        first_s: Floats = self._own[FIRST_S, columns]
        return timestamp_s - first_s

    def level(self, name: str) -> tuple[float, int]:
        """Long-run mean of a series and how many values it rests on; zeros for one that is not known."""
        if name not in self._columns:
            return 0.0, 0
        row = self._bank.row(self._columns[name])
        return float(row[views.LEVEL]), int(row[views.COUNT])

    def dump(self, columns: NDArray[np.intp]) -> list[str]:
        """States of series as text, without pickle; each at most 4 kB."""
        rows = np.concatenate([self._bank.rows(columns), self._own[:, columns].T], axis=1)
        drifts = [
            self._drifts[column].state().arrays["numbers"].tobytes() if column in self._drifts else b""
            for column in columns.tolist()
        ]
        return [b64encode(row.tobytes() + drift).decode() for row, drift in zip(rows, drifts, strict=True)]

    def load(self, found: Iterable[tuple[str, str]]) -> list[str]:
        """Put saved states back; returns the series whose state another version wrote, which start anew."""
        unreadable = []
        width = views.WIDTH + len(self._own)
        for name, text in found:
            try:
                numbers = np.frombuffer(b64decode(text, validate=True), np.float64)
            except ValueError:
                numbers = np.zeros(0)
            if len(numbers) not in (width, width + DRIFT_NUMBERS):
                _logger.warning("detector of %s starts anew, its state is of another version", name)
                unreadable.append(name)
                continue
            column = self._add(name, None, 0.0)
            self._bank.put(column, numbers[: views.WIDTH])
            self._own[:, column] = numbers[views.WIDTH : width]
            if len(numbers) > width:
                self._drifts[column] = SlowDrift.restore(State({}, {"numbers": numbers[width:]}))
        return unreadable

    def _add(self, name: str, relative: int | None, timestamp_s: float) -> int:
        column = self._columns[name] = len(self._columns)
        self._bank.grow(column + 1)
        if column >= self._own.shape[1]:
            self._own = np.concatenate([self._own, np.zeros((4, max(64, self._own.shape[1])))], axis=1)
        self._own[FIRST_S, column] = timestamp_s
        if relative is not None:
            row = self._bank.row(relative)
            if row[views.COUNT] >= views.WARM_UP:
                self._bank.put(column, as_prior(row))
        return column


def as_prior(row: Floats) -> Floats:
    """A relative's baseline as a weak one: it is believed at first, and gives way to one's own values soon."""
    prior = row.copy()
    prior[views.COUNT] = min(prior[views.COUNT], PRIOR_COUNT)
    prior[views.USUAL_COUNTS] = np.minimum(prior[views.USUAL_COUNTS], views.HOUR_LEAST)
    prior[views.SEEN] = min(prior[views.SEEN], PRIOR_SEEN)
    prior[views.SEEN_BEFORE] = min(prior[views.SEEN_BEFORE], PRIOR_SEEN)
    return prior
