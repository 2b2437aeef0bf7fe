"""The multi-view detector over many series at once: one numpy pass for one value of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.detectors import views
from models.detectors.severity import is_rarer, severity

Floats = NDArray[np.float64]
Columns = NDArray[np.intp]
TAILS, RECORDS = len(views.TAIL_VIEWS), views.RECORDS
CHUNK = 4_096
"""Records changed at once: what fits into a processor's cache."""

_PLAIN = views.GREATEST.start
_NOW = views.USUAL.start
"""The numbers before the hours: all of them are read and written with every value."""


class Readings(NamedTuple):
    """What the bank says of one value of each series; arrays of one length."""

    severity: Floats
    view: NDArray[np.intp]
    low: Floats
    middle: Floats
    high: Floats


class MultiViewBank:
    """Series as columns of arrays; a step scores and learns the columns that it is told.

    A value is seldom a record, so what decides that (the least record of each view) lies apart from the records: most
    values touch a twelfth of the state. What a step gives a series does not depend, to the last bit, on the others in
    it.
    """

    def __init__(self, series: int = 0, rate: float = 1.0) -> None:
        """Room for so many series that have seen nothing; ``rate`` as in `severity`."""
        self._rate = rate
        self._plain = np.zeros((_PLAIN, series))
        self._records, self._before = (np.full((series, TAILS, RECORDS), -1.0) for _ in range(2))
        self._bound, self._least = (np.full((TAILS, series), -1.0) for _ in range(2))
        self.series = series

    def grow(self, series: int) -> None:
        """Make room for so many series in all; capacity doubles, so that adding one by one stays cheap."""
        there = self._plain.shape[1]
        if series > there:
            more = MultiViewBank(max(series, 2 * there) - there)
            for name, axis in (("_plain", 1), ("_records", 0), ("_before", 0), ("_bound", 1), ("_least", 1)):
                setattr(self, name, np.concatenate([getattr(self, name), getattr(more, name)], axis=axis))
        self.series = max(self.series, series)

    def rows(self, columns: Columns | slice) -> Floats:
        """States of series as `views` lays them out, (series, WIDTH), a copy."""
        plain = self._plain[:, columns].T
        records = (one[columns].reshape(len(plain), TAILS * RECORDS) for one in (self._records, self._before))
        return np.concatenate([plain, *records], axis=1)

    def put(self, columns: Columns | slice, rows: Floats) -> None:
        """Set the states of series, (series, WIDTH)."""
        self._plain[:, columns] = rows[:, :_PLAIN].T
        self._records[columns] = rows[:, views.GREATEST].reshape(-1, TAILS, RECORDS)
        self._before[columns] = rows[:, views.GREATEST_BEFORE].reshape(-1, TAILS, RECORDS)
        self._bound[:, columns] = self._records[columns, :, -1].T
        union = np.maximum(self._records[columns], self._before[columns, :, ::-1])
        self._least[:, columns] = union.min(axis=2).T

    def counts(self, columns: Columns) -> Floats:
        """How many values each series has learnt."""
        return np.take(self._plain[views.COUNT], columns)

    def levels(self, columns: Columns) -> Floats:
        """Long-run mean of each series."""
        return np.take(self._plain[views.LEVEL], columns)

    def step(self, columns: Columns, values: Floats, timestamp_s: float) -> Readings:
        """Score the next value of each of these series (no column twice), then learn it.

        Missing values (NaN, infinite) score 0 and are not learnt.
        """
        is_there = np.isfinite(values)
        if not is_there.all():
            some = self.step(columns[is_there], values[is_there], timestamp_s)
            whole = Readings(np.zeros(len(values)), np.zeros(len(values), np.intp), *np.zeros((3, len(values))))
            for target, part in zip(whole, some, strict=True):
                target[is_there] = part
            return whole
        return self._step(columns, np.clip(values, -views.BOUND, views.BOUND), views.hour_of(timestamp_s))

    def _step(self, columns: Columns, values: Floats, hour: int) -> Readings:
        """Score and learn one finite value a column."""
        state = np.take(self._plain[:_NOW], columns, axis=1)
        count = state[views.COUNT]
        is_first = count == 0
        level = np.where(is_first, values, state[views.LEVEL])
        hour_mean, hour_count = (
            np.take(self._plain[part.start + hour], columns) for part in (views.USUAL, views.USUAL_COUNTS)
        )
        usual = np.where(hour_count >= views.HOUR_LEAST, hour_mean, level)
        mean_16 = _next(state[views.MEAN_16], values, count, views.SHORT)
        mean_64 = _next(state[views.MEAN_64], values, count, views.LONG)
        aside = _next(state[views.ASIDE], values - usual, count, views.LONG)
        tail = np.abs(np.stack([values - level, mean_16 - level, mean_64 - level, aside]))
        scaled = np.abs(np.stack([values - level, values - state[views.MEAN_64], values - state[views.LAST]]))
        scaled[:, is_first] = 0.0
        surprises = self._surprises(columns, tail, state)
        scales = np.sqrt(state[views.SQUARES])
        readings = _readings(
            surprises, _ratios(scaled, scales, state, level), count >= views.WARM_UP, usual, scales[0], self._rate
        )
        state[views.SEEN] += 1
        self._learn_tails(columns, tail, state)
        most = views.CLIP * scales
        is_clipped = (count >= views.WARM_UP) & (most > 0)
        squares = np.where(is_clipped, np.minimum(scaled, most), scaled) ** 2
        state[views.SQUARES] = _next(state[views.SQUARES], squares, count, views.SCALE)
        step, grain = scaled[2], state[views.GRAIN]
        state[views.GRAIN] = np.where(step > 0, np.where(grain > 0, np.minimum(grain, step), step), grain)
        self._plain[views.USUAL.start + hour, columns] = _next(hour_mean, values, hour_count, views.HOURLY)
        self._plain[views.USUAL_COUNTS.start + hour, columns] = hour_count + 1
        state[views.LEVEL] = _next(state[views.LEVEL], values, count, views.SLOW)
        state[views.MEAN_16], state[views.MEAN_64], state[views.ASIDE] = mean_16, mean_64, aside
        state[views.LAST] = values
        state[views.COUNT] += 1
        self._plain[:_NOW, columns] = state
        return readings

    def _surprises(self, columns: Columns, tail: Floats, state: Floats) -> Floats:
        """-log of the chance of each distance, (views, series); see `models.detectors.tail`."""
        seen = state[views.SEEN] + state[views.SEEN_BEFORE]
        least = np.take(self._least, columns, axis=1)
        out = np.zeros_like(tail)
        view, place = np.nonzero((tail > least) & (seen >= views.WARM_UP))
        for start in range(0, len(view), CHUNK):
            some, at = view[start : start + CHUNK], place[start : start + CHUNK]
            grain = state[views.GRAIN, at]
            bottom = np.maximum(least[some, at] + grain, views.TINY)
            union = self._union(columns[at], some, state[views.SEEN_BEFORE, at] > 0)
            union += grain[:, None]
            union /= bottom[:, None]
            spread = np.log(np.maximum(union, 1.0, out=union), out=union).sum(axis=1)
            index = (RECORDS + views.PRIOR_COUNT) / (spread + views.PRIOR_COUNT / views.PRIOR_INDEX)
            ratio = np.maximum(tail[some, at] + grain, views.TINY) / bottom
            out[some, at] = np.log((seen[at] + 1) / RECORDS) + index * np.log(ratio)
        return out

    def _union(self, column: Columns, view: Columns, has_before: NDArray[np.bool_]) -> Floats:
        """The greatest records of the stretch and of the one before, in any order.

        Of two falling lists of K, the greater of the j-th and the (K - j)-th are the K greatest of both.
        """
        union = self._records[column, view]
        if has_before.any():
            column, view = column[has_before], view[has_before]
            union[has_before] = np.maximum(union[has_before], self._before[column, view, ::-1])
        return union

    def _learn_tails(self, columns: Columns, tail: Floats, state: Floats) -> None:
        """Put each distance in its place among the records, and rotate those whose stretch is over."""
        view, place = np.nonzero(tail > np.take(self._bound, columns, axis=1))
        for start in range(0, len(view), CHUNK):
            some, at = view[start : start + CHUNK], place[start : start + CHUNK]
            self._insert(columns[at], some, tail[some, at], state[views.SEEN_BEFORE, at] > 0)
        over = np.flatnonzero(state[views.SEEN] >= views.STRETCH)
        if len(over):
            column = columns[over]
            self._before[column] = self._records[column]
            self._records[column] = -1.0
            self._bound[:, column] = -1.0
            self._least[:, column] = self._before[column, :, -1].T
            state[views.SEEN_BEFORE, over] = state[views.SEEN, over]
            state[views.SEEN, over] = 0.0

    def _insert(self, column: Columns, view: Columns, distance: Floats, has_before: NDArray[np.bool_]) -> None:
        """Make distances records of views of series."""
        kept = self._records[column, view]
        moved = np.minimum(kept[:, :-1], distance[:, None])
        np.maximum(kept[:, 0], distance, out=kept[:, 0])
        np.maximum(kept[:, 1:], moved, out=kept[:, 1:])
        self._records[column, view] = kept
        self._bound[view, column] = self._least[view, column] = kept[:, -1]
        if has_before.any():
            self._least[view, column] = self._union(column, view, has_before).min(axis=1)


def _next(mean: Floats, value: Floats, count: Floats, fading: float) -> Floats:
    """The mean after one more value: a plain one at first, an exponential one from 1 / fading values on."""
    return mean + (value - mean) * np.maximum(1.0 / (count + 1), fading)


def _ratios(scaled: Floats, scales: Floats, state: Floats, level: Floats) -> Floats:
    """Distances in their own scales, none of which is less than a share of the grain and of the level."""
    least = np.maximum(views.GRAIN_SHARE * state[views.GRAIN], views.LEAST_SHARE * np.abs(level))
    ratios: Floats = scaled / np.maximum(np.where(scales > 0, scales, scaled), np.maximum(least, views.TINY))
    return ratios


def _readings(
    surprises: Floats, ratios: Floats, is_warm: NDArray[np.bool_], usual: Floats, scale: Floats, rate: float
) -> Readings:
    by_rarity = np.zeros(len(usual))
    some = np.flatnonzero(surprises.any(axis=0))
    by_rarity[some] = (surprises[:, some] ** views.NORM).sum(axis=0) ** (1 / views.NORM)
    by_scale = ratios.mean(axis=0)
    scores = np.where(is_warm, severity(by_rarity, by_scale, rate), 0.0)
    view = np.where(is_rarer(by_rarity, by_scale), surprises.argmax(axis=0), TAILS + ratios.argmax(axis=0))
    low, high = np.maximum(usual - 3 * scale, 0.0), np.maximum(usual + 3 * scale, 0.0)
    return Readings(scores, view, low, np.maximum(usual, 0.0), high)
