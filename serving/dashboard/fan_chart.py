"""The fan chart: spend so far and the bill to come as one SVG, readable without colour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from serving.dashboard.axes import amount_label, round_ticks, time_label, time_ticks

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 320, 64, 120, 34, 34
BANDS = (("0.1", "0.9"), ("0.2", "0.8"), ("0.3", "0.7"), ("0.4", "0.6"))
LABEL_PX = 20
APART = 0.09
"""The least share of the width between the labels of two times."""


@dataclass(frozen=True, slots=True)
class OtherPlan:
    """What the same usage costs under another plan: so far, and in the middle of what is to come."""

    name: str
    so_far: float
    end: float


@dataclass(frozen=True, slots=True)
class Fan:
    """Cumulative cost as (share of the period, amount) points so far, and quantiles by level of what is to come.

    The period is from ``start_ns`` to ``end_ns``, Unix nanoseconds.
    ``ahead`` has a point for every moment at which quantiles are known, the last at the end of the period; none at
    all when there is no forecast.
    """

    past: list[tuple[float, float]]
    ahead: list[tuple[float, dict[str, float]]]
    currency: str
    start_ns: int
    end_ns: int
    budget: float | None = None
    others: tuple[OtherPlan, ...] = ()


def fan_chart(fan: Fan) -> Markup:
    """An SVG: the spend as a line, P10 to P90 as a fan from now on, other plans as thin lines, the budget across."""
    scale = _Scale(fan)
    parts = [*_grid(fan, scale), *_times(fan), *_bands(fan, scale), *_others(fan, scale), *_budget(fan, scale)]
    if fan.past:
        parts.append(f'<polyline class="past" points="{scale.line(fan.past)}"/>')
        x, y = scale.place(*fan.past[-1])
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(f'<text class="soft" text-anchor="middle" x="{x:.1f}" y="{TOP - 6}">now</text>')
        parts.append(f'<circle class="now" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    parts += _labels(fan, scale)
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
        self.ticks = round_ticks(max(amounts) * 1.02)
        self.top = self.ticks[-1]

    def place(self, share: float, amount: float) -> tuple[float, float]:
        """Where a point lies on the page."""
        return (
            LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - amount / self.top * (HEIGHT - TOP - BOTTOM),
        )

    def line(self, points: Iterable[tuple[float, float]]) -> str:
        """Points for a polyline."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.place(*point) for point in points))


def _grid(fan: Fan, scale: _Scale) -> list[str]:
    parts = [f'<text class="soft" text-anchor="end" x="{LEFT - 8}" y="{TOP - 18}">{escape(fan.currency)}</text>']
    for amount in scale.ticks:
        _, y = scale.place(0, amount)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        label = amount_label(amount, scale.ticks[1])
        parts.append(f'<text text-anchor="end" x="{LEFT - 8}" y="{y + 4:.1f}">{label}</text>')
    return parts


def _times(fan: Fan) -> list[str]:
    """Times below: both ends, and round ones that are not too near to them."""
    ticks = time_ticks(fan.start_ns, fan.end_ns)
    step_s = 86_400 if fan.end_ns - fan.start_ns > 2 * 86_400 * 10**9 else 1
    marks = [(0.0, time_label(fan.start_ns, step_s)), (1.0, time_label(fan.end_ns, step_s))]
    marks += [one for one in ticks if APART < one[0] < 1 - APART]
    parts, base = [], HEIGHT - BOTTOM
    for number, (share, label) in enumerate(marks):
        x, rank = LEFT + share * (WIDTH - LEFT - RIGHT), "minor" if number > 1 else "end"
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 5}"/>')
        parts.append(f'<text class="{rank}" text-anchor="middle" x="{x:.1f}" y="{base + 22}">{label}</text>')
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
    """Lines of the plans that fit on the page, each named at its end."""
    if not fan.ahead or not fan.past:
        return []
    now, parts = fan.past[-1][0], []
    for plan in fan.others:
        if max(plan.so_far, plan.end) > scale.top:
            continue
        x, y = scale.place(1, plan.end)
        points = scale.line([(now, plan.so_far), (1.0, plan.end)])
        parts.append(f'<polyline class="other" points="{points}"/>')
        parts.append(
            f'<text class="other-name" text-anchor="end" x="{x - 4:.1f}" y="{y - 6:.1f}">{escape(plan.name)}</text>'
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
