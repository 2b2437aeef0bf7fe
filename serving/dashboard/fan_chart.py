"""The fan chart: spend so far and the bill to come as one SVG, readable without colour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 300, 56, 110, 18, 34
BANDS = (("0.1", "0.9"), ("0.2", "0.8"), ("0.3", "0.7"), ("0.4", "0.6"))
LABEL_PX = 15


@dataclass(frozen=True, slots=True)
class OtherPlan:
    """What the same usage costs under another plan: so far, and in the middle of what is to come."""

    name: str
    so_far: float
    end: float


@dataclass(frozen=True, slots=True)
class Fan:
    """Cumulative cost as (share of the period, amount) points so far, and quantiles by level of what is to come.

    ``ahead`` has a point for every moment at which quantiles are known, the last at the end of the period; none at
    all when there is no forecast.
    """

    past: list[tuple[float, float]]
    ahead: list[tuple[float, dict[str, float]]]
    currency: str
    start: str
    end: str
    budget: float | None = None
    others: tuple[OtherPlan, ...] = ()


def fan_chart(fan: Fan) -> Markup:
    """An SVG: the spend as a line, P10 to P90 as a fan from now on, other plans as thin lines, the budget across."""
    scale = _Scale(fan)
    parts = [*_grid(scale), *_budget(fan, scale), *_bands(fan, scale), *_others(fan, scale)]
    if fan.past:
        parts.append(f'<polyline class="past" points="{scale.line(fan.past)}"/>')
        x, y = scale.place(*fan.past[-1])
        parts.append(f'<circle class="now" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    parts += _labels(fan, scale)
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 10}">{escape(fan.start)}</text>')
    parts.append(f'<text text-anchor="end" x="{WIDTH - RIGHT}" y="{HEIGHT - 10}">{escape(fan.end)}</text>')
    return Markup(  # noqa: S704 -- every text in it is escaped
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_about(fan))}">'
        f"{''.join(parts)}</svg>"
    )


class _Scale:
    def __init__(self, fan: Fan) -> None:
        amounts = [amount for _, amount in fan.past] + [q["0.9"] for _, q in fan.ahead] + [0.01]
        amounts += [amount for amount in map(_end, fan.others) if amount <= 3 * max(amounts)]
        if fan.budget is not None and fan.budget <= 3 * max(amounts):
            amounts.append(fan.budget)
        self.top = max(amounts) * 1.06

    def place(self, share: float, amount: float) -> tuple[float, float]:
        """Where a point lies on the page."""
        return (
            LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - amount / self.top * (HEIGHT - TOP - BOTTOM),
        )

    def line(self, points: Iterable[tuple[float, float]]) -> str:
        """Points for a polyline."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.place(*point) for point in points))


def _grid(scale: _Scale) -> list[str]:
    parts = []
    for step in range(5):
        amount = scale.top / 1.06 * step / 4
        _, y = scale.place(0, amount)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text text-anchor="end" x="{LEFT - 6}" y="{y + 4:.1f}">{amount:,.2f}</text>')
    return parts


def _budget(fan: Fan, scale: _Scale) -> list[str]:
    if fan.budget is None or fan.budget > scale.top:
        return []
    _, y = scale.place(0, fan.budget)
    line = f'<line class="budget" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return [line, f'<text class="budget-name" x="{LEFT + 6}" y="{y - 5:.1f}">budget {fan.budget:,.2f}</text>']


def _bands(fan: Fan, scale: _Scale) -> list[str]:
    if not fan.ahead or not fan.past:
        return []
    now, spent = fan.past[-1]
    parts = []
    for low, high in BANDS:
        below = [(now, spent), *((share, q[low]) for share, q in fan.ahead)]
        above = [(share, q[high]) for share, q in reversed(fan.ahead)]
        parts.append(f'<polygon class="band" points="{scale.line([*below, *above])}"/>')
    middle = [(now, spent), *((share, q["0.5"]) for share, q in fan.ahead)]
    return [*parts, f'<polyline class="middle" points="{scale.line(middle)}"/>']


def _others(fan: Fan, scale: _Scale) -> list[str]:
    """Lines of the plans that fit on the page, each named above its middle."""
    if not fan.ahead or not fan.past:
        return []
    now, parts = fan.past[-1][0], []
    for plan in fan.others:
        if max(plan.so_far, plan.end) > scale.top:
            continue
        x, y = scale.place((now + 1) / 2, (plan.so_far + plan.end) / 2)
        points = scale.line([(now, plan.so_far), (1.0, plan.end)])
        parts.append(f'<polyline class="other" points="{points}"/>')
        parts.append(
            f'<text class="other-name" text-anchor="middle" x="{x:.1f}" y="{y - 6:.1f}">{escape(plan.name)}</text>'
        )
    return parts


def _end(plan: OtherPlan) -> float:
    return plan.end


def _labels(fan: Fan, scale: _Scale) -> list[str]:
    """P10, P50 and P90 at the right edge, pushed apart where they would cover each other."""
    if not fan.ahead:
        return []
    last = fan.ahead[-1][1]
    wanted = [(scale.place(1, last[level])[1], f"{name} {last[level]:,.2f}") for level, name in _NAMED]
    parts, ceiling = [], float(TOP - LABEL_PX)
    for y, text in reversed(wanted):
        ceiling = max(y + 4, ceiling + LABEL_PX)
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{ceiling:.1f}">{text}</text>')
    return parts


def _about(fan: Fan) -> str:
    spent = fan.past[-1][1] if fan.past else 0.0
    if not fan.ahead:
        return f"Spend so far {spent:,.2f} {fan.currency}; no forecast"
    last = fan.ahead[-1][1]
    return f"Spend so far {spent:,.2f} {fan.currency}; at period end between {last['0.1']:,.2f} and {last['0.9']:,.2f}"


_NAMED = (("0.1", "P10"), ("0.5", "P50"), ("0.9", "P90"))
