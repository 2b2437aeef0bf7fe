"""The one list of what happens to a charge after its model, in order."""

from __future__ import annotations

from collections.abc import Callable

from serving.pricing.line import Line
from serving.pricing.modifiers.bounds import maximum_line, minimum_line
from serving.pricing.modifiers.commitment import commitment_line
from serving.pricing.modifiers.discount import discount_lines
from serving.pricing.modifiers.factor import factor_lines
from serving.pricing.modifiers.running import Running

STEPS: tuple[Callable[[Running], None], ...] = (
    factor_lines,
    commitment_line,
    minimum_line,
    maximum_line,
    discount_lines,
)
"""Each adds its lines where it bites; then come discounts of the invoice, its minimum and maximum, and credits."""


def apply_steps(running: Running) -> list[Line]:
    """All lines of a charge, from its usage line on."""
    for step in STEPS:
        step(running)
    return running.lines
