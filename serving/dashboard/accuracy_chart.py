"""The chart of live accuracy: losses by origin, beside those of a naive forecast and that of the backtest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 180, 56, 110, 14, 14


def accuracy_chart(origins: Sequence[Mapping[str, Any]], reference: float | None) -> Markup:
    """An SVG of at least two origins (loss and naive, which may be None), with the backtest's loss across."""
    losses = [float(one["loss"]) for one in origins]
    naive = [one["naive"] for one in origins]
    top = 1.1 * max(losses + [float(value) for value in naive if value is not None] + [reference or 0.0, 1e-9])
    step = (WIDTH - LEFT - RIGHT) / (len(origins) - 1)

    def place(index: int, loss: float) -> str:
        return f"{LEFT + index * step:.1f},{HEIGHT - BOTTOM - loss / top * (HEIGHT - TOP - BOTTOM):.1f}"

    parts = [f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>']
    parts.append(f'<text text-anchor="end" x="{LEFT - 6}" y="{HEIGHT - BOTTOM}">0</text>')
    parts.append(f'<text text-anchor="end" x="{LEFT - 6}" y="{TOP + 8}">{top:.2g}</text>')
    known = [place(index, float(value)) for index, value in enumerate(naive) if value is not None]
    parts.append(f'<polyline class="other" points="{" ".join(known)}"/>')
    if reference is not None:
        parts.append(f'<polyline class="middle" points="{place(0, reference)} {place(len(origins) - 1, reference)}"/>')
        y = place(0, reference).split(",")[1]
        parts.append(f'<text x="{WIDTH - RIGHT + 6}" y="{y}">backtest</text>')
    points = " ".join(place(index, loss) for index, loss in enumerate(losses))
    parts.append(f'<polyline class="past" points="{points}"/>')
    about = f"Loss from {len(origins)} moments, {losses[0]:.2g} first and {losses[-1]:.2g} last"
    return Markup(  # noqa: S704 -- made of numbers
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{about}">{"".join(parts)}</svg>'
    )
