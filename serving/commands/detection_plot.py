"""The picture of `metercast detect --plot`: value, expected band and alerts of each series, as one page of SVG."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, EDGE = 1_000, 160, 6
MOST = 60
"""Series drawn; those with the most severe alerts come first."""

STYLE = (
    "body{font:15px/1.5 system-ui;margin:2em auto;max-width:1040px;padding:0 1em;color-scheme:light dark}"
    "svg{width:100%;height:auto}.band{fill:#8884}.value{fill:none;stroke:#2a6fdb;stroke-width:1}"
    ".alert{stroke:#c22;stroke-width:1.5}.mark{fill:#c22}h2{font-size:1em;margin:1.5em 0 0}figcaption{opacity:.8}"
)


@dataclass(frozen=True, slots=True)
class Drawn:
    """One series in time order: seconds, values, (2, rows) of what was expected, and alerts (0 where there is none)."""

    name: str
    stamps_s: NDArray[np.float64]
    values: NDArray[np.float64]
    band: NDArray[np.float64]
    alerts: NDArray[np.float64]


def page(title: str, series: list[Drawn]) -> str:
    """A self-contained page: no script, nothing from elsewhere."""
    ranked = sorted(series, key=lambda one: -float(one.alerts.max(initial=0.0)))
    figures = "".join(_figure(one) for one in ranked[:MOST])
    left = f"<p>{len(series) - MOST} calmer series are not drawn.</p>" if len(series) > MOST else ""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>Value in blue, what was expected before each value in grey, alerts in red.</p>"
        f"{figures}{left}</html>"
    )


def _figure(one: Drawn) -> str:
    found = np.flatnonzero(one.alerts >= 1)
    finite = one.values[np.isfinite(one.values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    extent, first = max(high - low, 1e-12), float(one.stamps_s[0])
    span_s = max(float(one.stamps_s[-1]) - first, 1e-9)
    x = EDGE + (one.stamps_s - first) / span_s * (WIDTH - 2 * EDGE)

    def y(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(HEIGHT - EDGE - (values - low) / extent * (HEIGHT - 2 * EDGE), 0, HEIGHT)

    slots = np.minimum(x.astype(np.int64), WIDTH)
    band = _points(slots, y(one.band[1]), np.minimum) + _points(slots, y(one.band[0]), np.maximum)[::-1]
    marks = "".join(
        f'<g class="mark"><title>{_moment(one.stamps_s[at])}: {one.values[at]:.6g}, '
        f"severity {one.alerts[at]:.2f}</title>"
        f'<line class="alert" x1="{x[at]:.1f}" x2="{x[at]:.1f}" y1="0" y2="{HEIGHT}"/>'
        f'<circle cx="{x[at]:.1f}" cy="{y(one.values[at : at + 1])[0]:.1f}" r="3.5"/></g>'
        for at in found.tolist()
    )
    times = ", ".join(_moment(one.stamps_s[at]) for at in found[:12].tolist()) or "none"
    said = f"{len(one.values)} values from {low:.6g} to {high:.6g}; alerts: {times}{' ...' if len(found) > 12 else ''}"
    return (
        f'<h2>{escape(one.name)}</h2><figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(said)}"><polygon class="band" points="{_path(band)}"/>'
        f'<polyline class="value" points="{_path(_line(slots, y(one.values)))}"/>'
        f"{marks}</svg><figcaption>{escape(said)}</figcaption></figure>"
    )


def _points(slots: NDArray[np.int64], heights: NDArray[np.float64], pick: np.ufunc) -> list[tuple[int, float]]:
    """One point a pixel: the outermost of the heights that fall on it."""
    places, starts = np.unique(slots, return_index=True)
    return list(zip(places.tolist(), pick.reduceat(heights, starts).tolist(), strict=True))


def _line(slots: NDArray[np.int64], heights: NDArray[np.float64]) -> list[tuple[int, float]]:
    """Two points a pixel, its highest and its lowest: no spike is lost."""
    is_there = np.isfinite(heights)
    if not is_there.any():
        return []
    upper, lower = (_points(slots[is_there], heights[is_there], pick) for pick in (np.minimum, np.maximum))
    return [point for pair in zip(upper, lower, strict=True) for point in pair]


def _path(points: list[tuple[int, float]]) -> str:
    return " ".join(f"{x},{y:.1f}" for x, y in points)


def _moment(stamp_s: float) -> str:
    return datetime.fromtimestamp(float(stamp_s), UTC).strftime("%Y-%m-%d %H:%M")
