"""The icicle: a whole split into operations and these into micro-operations, widths in proportion to money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from serving.dashboard.reading import money

WIDTH, ROW, GAP = 760.0, 46.0, 2.0
NARROWEST_NAMED = 64.0
LETTER = 7.6


@dataclass(frozen=True, slots=True)
class Slice:
    """One operation: its name, its amount and its micro-operations as (name, amount)."""

    name: str
    amount: float
    parts: Sequence[tuple[str, float]]


def icicle(slices: Sequence[Slice], total: str) -> Markup:
    """An SVG of three rows: all, operations, micro-operations; each box has its name and amount as a tooltip."""
    whole = sum(one.amount for one in slices)
    if whole <= 0:
        return Markup("")
    boxes = [_box(0.0, 0, WIDTH, "All", total, 0)]
    x = 0.0
    for number, one in enumerate(slices):
        width = one.amount / whole * WIDTH
        boxes.append(_box(x, 1, width, one.name, money(one.amount), number % 4 + 1))
        inner = x
        for name, amount in one.parts:
            part = amount / whole * WIDTH
            boxes.append(_box(inner, 2, part, name, money(amount), number % 4 + 1))
            inner += part
        x += width
    height = 3 * ROW
    about = "; ".join(f"{one.name} {one.amount / whole:.0%}" for one in slices)
    return Markup(  # noqa: S704 -- every text in it is escaped
        f'<svg class="chart icicle" viewBox="0 0 {WIDTH:g} {height:g}" role="img" '
        f'aria-label="Cost by operation and micro-operation: {escape(about)}">{"".join(boxes)}</svg>'
    )


def _box(x: float, row: int, width: float, name: str, amount: str, tone: int) -> str:
    if width < 0.4:
        return ""
    label = ""
    if width >= NARROWEST_NAMED:
        letters = int((width - 12) / LETTER)
        shown = name if len(name) <= letters else name[: letters - 1] + "…"
        label = (
            f'<text x="{x + 6:.1f}" y="{row * ROW + 19:g}">{escape(shown)}</text>'
            f'<text class="soft" x="{x + 6:.1f}" y="{row * ROW + 35:g}">{escape(amount[:letters])}</text>'
        )
    return (
        f'<g class="tone{tone} depth{row}"><rect x="{x:.1f}" y="{row * ROW:g}" width="{max(width - GAP, 0.4):.1f}" '
        f'height="{ROW - GAP:g}"/><title>{escape(name)}: {escape(amount)}</title>{label}</g>'
    )
