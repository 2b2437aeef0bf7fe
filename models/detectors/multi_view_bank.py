"""The multi-view detector over many series at once: one numpy pass for one value of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.detectors import views

Floats = NDArray[np.float64]
TAILS, RECORDS = len(views.TAIL_VIEWS), views.RECORDS


class Readings(NamedTuple):
    """What the bank says of one value of each series; arrays of one length."""

    severity: Floats
    view: NDArray[np.intp]
    low: Floats
    middle: Floats
    high: Floats


class MultiViewBank:
    """Series as columns of one array; a step scores and learns the columns that it is told."""

    def __init__(self, series: int = 0) -> None:
        """Room for so many series that have seen nothing."""
        self._state = views.fresh(series)
        self.series = series

    def grow(self, series: int) -> None:
        """Make room for so many series in all; capacity doubles, so that adding one by one stays cheap."""
        if series > self._state.shape[1]:
            more = views.fresh(max(series, 2 * self._state.shape[1]) - self._state.shape[1])
            self._state = np.concatenate([self._state, more], axis=1)
        self.series = max(self.series, series)

    def row(self, column: int) -> Floats:
        """The state of one series, a copy."""
        return self._state[:, column].copy()

    def rows(self, columns: NDArray[np.intp]) -> Floats:
        """States of series, (series, WIDTH), a copy."""
        return np.ascontiguousarray(self._state[:, columns].T)

    def put(self, column: int, row: Floats) -> None:
        """Set the state of one series."""
        self._state[:, column] = row

    def step(self, columns: NDArray[np.intp], values: Floats, timestamp_s: float) -> Readings:
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
        values = np.clip(values, -views.BOUND, views.BOUND)
        state = self._state[:, columns]
        readings = _step(state, values, views.hour_of(timestamp_s))
        self._state[:, columns] = state
        return readings


def _step(state: Floats, values: Floats, hour: int) -> Readings:
    """Score and learn one value a column; ``state`` is changed in place."""
    count = state[views.COUNT]
    is_first = count == 0
    level = np.where(is_first, values, state[views.LEVEL])
    hour_mean, hour_count = state[views.USUAL.start + hour], state[views.USUAL_COUNTS.start + hour]
    usual = np.where(hour_count >= views.HOUR_LEAST, hour_mean, level)
    mean_16 = _next(state[views.MEAN_16], values, count, views.SHORT)
    mean_64 = _next(state[views.MEAN_64], values, count, views.LONG)
    aside = _next(state[views.ASIDE], values - usual, count, views.LONG)
    tail = np.abs(np.stack([values - level, mean_16 - level, mean_64 - level, aside]))
    scaled = np.abs(np.stack([values - level, values - state[views.MEAN_64], values - state[views.LAST]]))
    scaled[:, is_first] = 0.0
    surprises = _surprises(state, tail)
    scales = np.sqrt(state[views.SQUARES])
    ratios = scaled / np.maximum(
        np.where(scales > 0, scales, scaled),
        np.maximum(np.maximum(views.GRAIN_SHARE * state[views.GRAIN], views.LEAST_SHARE * np.abs(level)), views.TINY),
    )
    readings = _readings(surprises, ratios, count >= views.WARM_UP, usual, scales[0])
    _learn_tails(state, tail)
    most = views.CLIP * scales
    is_clipped = (count >= views.WARM_UP) & (most > 0)
    squares = np.where(is_clipped, np.minimum(scaled, most), scaled) ** 2
    state[views.SQUARES] = _next(state[views.SQUARES], squares, count, views.SCALE)
    step, grain = scaled[2], state[views.GRAIN]
    state[views.GRAIN] = np.where(step > 0, np.where(grain > 0, np.minimum(grain, step), step), grain)
    state[views.USUAL.start + hour] = _next(hour_mean, values, hour_count, views.HOURLY)
    state[views.USUAL_COUNTS.start + hour] += 1
    state[views.LEVEL] = _next(state[views.LEVEL], values, count, views.SLOW)
    state[views.MEAN_16], state[views.MEAN_64], state[views.ASIDE] = mean_16, mean_64, aside
    state[views.LAST] = values
    state[views.COUNT] += 1
    return readings


def _next(mean: Floats, value: Floats, count: Floats, fading: float) -> Floats:
    """The mean after one more value: a plain one at first, an exponential one from 1 / fading values on."""
    return mean + (value - mean) * np.maximum(1.0 / (count + 1), fading)


def _readings(surprises: Floats, ratios: Floats, is_warm: NDArray[np.bool_], usual: Floats, scale: Floats) -> Readings:
    by_rarity = (surprises**views.NORM).sum(axis=0) ** (1 / views.NORM)
    by_scale = ratios.mean(axis=0)
    severity = np.where(is_warm, np.maximum(by_rarity, by_scale), 0.0) / views.BAR
    view = np.where(by_rarity >= by_scale, surprises.argmax(axis=0), TAILS + ratios.argmax(axis=0))
    low, high = np.maximum(usual - 3 * scale, 0.0), np.maximum(usual + 3 * scale, 0.0)
    return Readings(severity, view, low, np.maximum(usual, 0.0), high)


def _surprises(state: Floats, tail: Floats) -> Floats:
    """-log of the chance of each distance, (views, series); see `models.detectors.tail`."""
    seen = state[views.SEEN] + state[views.SEEN_BEFORE]
    records = state[views.GREATEST].reshape(TAILS, RECORDS, -1)
    before = state[views.GREATEST_BEFORE].reshape(TAILS, RECORDS, -1)
    # Of two falling lists of K, the greater of the j-th and the (K - j)-th are the K greatest of both.
    union = np.maximum(records, before[:, ::-1])
    least = union.min(axis=1)
    out = np.zeros_like(tail)
    view, column = np.nonzero((tail > least) & (seen >= views.WARM_UP))
    if len(view):
        grain = state[views.GRAIN, column]
        bottom = np.maximum(least[view, column] + grain, views.TINY)
        spread = np.log(np.maximum(union[view, :, column] + grain[:, None], views.TINY) / bottom[:, None]).sum(axis=1)
        index = (RECORDS + views.PRIOR_COUNT) / (spread + views.PRIOR_COUNT / views.PRIOR_INDEX)
        ratio = np.maximum(tail[view, column] + grain, views.TINY) / bottom
        out[view, column] = np.log((seen[column] + 1) / RECORDS) + index * np.log(ratio)
    return out


def _learn_tails(state: Floats, tail: Floats) -> None:
    """Put each distance in its place among the records, and rotate those whose stretch is over."""
    records = state[views.GREATEST].reshape(TAILS, RECORDS, -1)
    view, column = np.nonzero(tail > records[:, -1])
    if len(view):
        kept, distance = records[view, :, column], tail[view, column][:, None]
        above = np.concatenate([np.full((len(view), 1), np.inf), kept[:, :-1]], axis=1)
        records[view, :, column] = np.maximum(kept, np.minimum(above, distance))
    state[views.SEEN] += 1
    over = np.flatnonzero(state[views.SEEN] >= views.STRETCH)
    if len(over):
        state[views.GREATEST_BEFORE.start : views.GREATEST_BEFORE.stop, over] = state[
            views.GREATEST.start : views.GREATEST.stop, over
        ]
        state[views.SEEN_BEFORE, over] = state[views.SEEN, over]
        state[views.GREATEST.start : views.GREATEST.stop, over] = -1.0
        state[views.SEEN, over] = 0.0
