"""The fan chart: spend so far and the bill to come as one SVG, readable without colour."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 280, 60, 80, 16, 32


@dataclass(frozen=True, slots=True)
class Fan:
    """Cumulative cost so far as (share of the period, amount) points, and quantiles of the amount at its end."""

    past: list[tuple[float, float]]
    quantiles: dict[str, float]
    currency: str
    start: str
    end: str


def fan_chart(fan: Fan) -> str:
    """An SVG with the spend as a line and P10 to P90 at period end as a fan from now on."""
    top = max([amount for _, amount in fan.past] + list(fan.quantiles.values()) + [0.01]) * 1.08
    now_x, now_y = fan.past[-1] if fan.past else (0.0, 0.0)

    def point(share: float, amount: float) -> str:
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - amount / top * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    bands = []
    for low, high in (("0.1", "0.9"), ("0.2", "0.8"), ("0.3", "0.7"), ("0.4", "0.6")):
        corners = (point(now_x, now_y), point(1, fan.quantiles[low]), point(1, fan.quantiles[high]))
        bands.append(f'<polygon class="band" points="{" ".join(corners)}"/>')
    line = " ".join(point(share, amount) for share, amount in fan.past)
    middle = f"{point(now_x, now_y)} {point(1, fan.quantiles['0.5'])}"
    labels = []
    for level, name in (("0.1", "P10"), ("0.5", "P50"), ("0.9", "P90")):
        x, y = point(1, fan.quantiles[level]).split(",")
        labels.append(f'<text x="{float(x) + 6:.1f}" y="{float(y) + 4:.1f}">{name} {fan.quantiles[level]:.2f}</text>')
    grid = []
    for step in range(5):
        amount = top / 1.08 * step / 4
        x, y = point(0, amount).split(",")
        grid.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        grid.append(f'<text text-anchor="end" x="{LEFT - 6}" y="{float(y) + 4:.1f}">{amount:.2f}</text>')
    band = f"between {fan.quantiles['0.1']:.2f} and {fan.quantiles['0.9']:.2f}"
    about = f"Spend so far {now_y:.2f} {fan.currency}; at period end {band}"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(about)}">{"".join(grid)}{"".join(bands)}'
        f'<polyline class="past" points="{line}"/><polyline class="middle" points="{middle}"/>{"".join(labels)}'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">{escape(fan.start)}</text>'
        f'<text text-anchor="end" x="{WIDTH - RIGHT}" y="{HEIGHT - 8}">{escape(fan.end)}</text></svg>'
    )
