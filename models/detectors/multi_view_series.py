"""The multi-view detector along one series: a whole stretch of values in a few numpy passes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from models.detectors import views
from models.detectors.severity import severity
from models.detectors.tail import Tail

Floats = NDArray[np.float64]
TAILS = len(views.TAIL_VIEWS)
CHUNK = 1_024
"""Values looked through at once for records, and for distances to clip; after a find the next look is shorter."""


def score_series(values: Floats, timestamps_s: Floats, row: Floats, band: Floats | None = None) -> Floats:
    """Severity of each value of one series in time order; ``row`` (`views.WIDTH` numbers) is its state, brought on.

    The numbers are those of `MultiView`, value by value. Missing values score 0 and are passed over. ``band``, (2,
    values), takes the low and high that were expected before each value, where it is given.
    """
    is_there = np.isfinite(values)
    if not is_there.all():
        scores = np.zeros(len(values))
        some = band[:, is_there] if band is not None else None
        scores[is_there] = score_series(values[is_there], timestamps_s[is_there], row, some)
        if band is not None:
            band[:, is_there] = some
        return scores
    return _scored(values, timestamps_s, row, band) if len(values) else np.zeros(0)


def _scored(values: Floats, timestamps_s: Floats, row: Floats, band: Floats | None) -> Floats:
    values = np.clip(values, -views.BOUND, views.BOUND)
    count = row[views.COUNT]
    level, row_level = _before_and_after(values, row[views.LEVEL], count, views.SLOW)
    if not count:
        level[0] = values[0]
    long_before, _ = _before_and_after(values, row[views.MEAN_64], count, views.LONG)
    mean_16 = _means(values, row[views.MEAN_16], count, views.SHORT)
    mean_64 = _means(values, row[views.MEAN_64], count, views.LONG)
    usual = _usual(values, timestamps_s, level, row)
    aside = _means(values - usual, row[views.ASIDE], count, views.LONG)
    last = np.concatenate([[row[views.LAST] if count else values[0]], values[:-1]])
    if not count:
        long_before[0] = values[0]
    grain, row_grain = _grain(np.abs(values - last), row[views.GRAIN])
    tail = np.abs(np.stack([values - level, mean_16 - level, mean_64 - level, aside]))
    by_rarity = (_surprises(tail, grain, row) ** views.NORM).sum(axis=0) ** (1 / views.NORM)
    least = np.maximum(views.GRAIN_SHARE * grain, np.maximum(views.LEAST_SHARE * np.abs(level), views.TINY))
    scaled = np.abs(np.stack([values - level, values - long_before, values - last]))
    scales = np.stack([_scales(one, row, views.SQUARES.start + index) for index, one in enumerate(scaled)])
    by_scale = (scaled / np.maximum(np.where(scales > 0, scales, scaled), least)).mean(axis=0)
    if band is not None:
        lowest = 0.0 if values.min() >= 0 else -np.inf
        band[:] = np.maximum([usual - 3 * scales[0], usual + 3 * scales[0]], lowest)
    row[views.COUNT] += len(values)
    row[views.LEVEL], row[views.MEAN_16], row[views.MEAN_64] = row_level, mean_16[-1], mean_64[-1]
    row[views.ASIDE], row[views.LAST], row[views.GRAIN] = aside[-1], values[-1], row_grain
    scores: Floats = severity(by_rarity, by_scale)
    scores[: max(0, views.WARM_UP - int(count))] = 0.0
    return scores


def _means(values: Floats, mean: float, count: float, fading: float) -> Floats:
    """The slow mean after each value: plain while 1 / count exceeds the fading, exponential from there on."""
    plain = min(len(values), max(0, int(1 / fading) - int(count)))
    counts = count + np.arange(1, plain + 1)
    first: Floats = (mean * count + np.cumsum(values[:plain])) / counts
    if plain == len(values):
        return first
    start = first[-1] if plain else mean
    rest, _ = lfilter([fading], [1.0, fading - 1.0], values[plain:], zi=[(1.0 - fading) * start])
    return np.concatenate([first, np.asarray(rest, dtype=np.float64)])


def _before_and_after(values: Floats, mean: float, count: float, fading: float) -> tuple[Floats, float]:
    """The slow mean before each value, and after the last."""
    after = _means(values, mean, count, fading)
    return np.concatenate([[mean], after[:-1]]), float(after[-1])


def _usual(values: Floats, timestamps_s: Floats, level: Floats, row: Floats) -> Floats:
    """What is usual at the hour of each value, before it; the level where the hour is young."""
    usual = level.copy()
    hours = (timestamps_s // 3_600).astype(np.int64) % views.HOURS
    for hour in np.unique(hours):
        at = np.flatnonzero(hours == hour)
        mean, count = row[views.USUAL.start + hour], row[views.USUAL_COUNTS.start + hour]
        before, after = _before_and_after(values[at], mean, count, views.HOURLY)
        known = max(0, views.HOUR_LEAST - int(count))
        usual[at[known:]] = before[known:]
        row[views.USUAL.start + hour], row[views.USUAL_COUNTS.start + hour] = after, count + len(at)
    return usual


def _grain(steps: Floats, grain: float) -> tuple[Floats, float]:
    """The smallest step before each value, 0 before the first, and after the last."""
    smallest = np.minimum.accumulate(np.concatenate([[grain or np.inf], np.where(steps > 0, steps, np.inf)]))
    smallest[np.isinf(smallest)] = 0.0
    return smallest[:-1], float(smallest[-1])


def _surprises(tail: Floats, grain: Floats, row: Floats) -> Floats:
    """-log of the chance of each distance, (views, values); looks only at those that become records."""
    out = np.zeros_like(tail)
    seen = int(row[views.SEEN]), int(row[views.SEEN_BEFORE])
    for index, distances in enumerate(tail):
        kept = slice(views.GREATEST.start + index * views.RECORDS, views.GREATEST.start + (index + 1) * views.RECORDS)
        shift = views.GREATEST_BEFORE.start - views.GREATEST.start
        before = slice(kept.start + shift, kept.stop + shift)
        one = Tail(row[kept].tolist(), row[before].tolist(), *seen)
        _along(one, distances, grain, out[index])
        row[kept], row[before] = one.dump()
        row[views.SEEN], row[views.SEEN_BEFORE] = one.seen, one.seen_before
    return out


def _along(tail: Tail, distances: Floats, grain: Floats, out: Floats) -> None:
    """Walk from one possible record to the next; what lies between only counts."""
    start, chunk = 0, views.WARM_UP
    while start < len(distances):
        end = min(len(distances), start + chunk, start + views.STRETCH - tail.seen)
        counted = start
        for at in (start + np.flatnonzero(distances[start:end] > tail.threshold)).tolist():
            distance = float(distances[at])
            if distance > tail.threshold:
                tail.seen += at - counted
                counted = at
                out[at] = tail.surprise(distance, float(grain[at]))
                tail.keep(distance)
        tail.count(end - counted)
        start, chunk = end, min(2 * chunk, CHUNK) if tail.seen else views.WARM_UP


def _scales(distances: Floats, row: Floats, place: int) -> Floats:
    """Root mean square of the distances before each, clipped at `CLIP` times it; brings that at ``place`` on."""
    square, count = float(row[place]), int(row[views.COUNT])
    scales = np.empty(len(distances))
    start, chunk = 0, CHUNK
    while start < len(distances):
        some = distances[start : start + chunk]
        before, after = _before_and_after(some**2, square, count + start, views.SCALE)
        scale = np.sqrt(before)
        wild = np.flatnonzero((some > views.CLIP * scale) & (scale > 0))
        wild = wild[wild + count + start >= views.WARM_UP]
        if not len(wild):
            scales[start : start + chunk] = scale
            square, start, chunk = after, start + len(some), min(2 * chunk, CHUNK)
            continue
        at = int(wild[0])
        scales[start : start + at + 1] = scale[: at + 1]
        weight = max(1.0 / (count + start + at + 1), views.SCALE)
        square = float(before[at] + (before[at] * views.CLIP**2 - before[at]) * weight)
        start, chunk = start + at + 1, 32
    row[place] = square
    return scales
