"""The one list of what happens to a charge after its model, in order."""

from __future__ import annotations

from collections.abc import Callable

from serving.pricing.line import Line
from serving.pricing.modifiers.bounds import maximum_line, minimum_line
from serving.pricing.modifiers.commitment import commitment_line
from serving.pricing.modifiers.discount import discount_lines
from serving.pricing.modifiers.factor import factor_line
from serving.pricing.modifiers.running import Running

Step = Callable[[Running], Line | None]


STEPS: tuple[Step, ...] = (factor_line, commitment_line, minimum_line, maximum_line)
"""One line each, where it bites; discounts follow, then those of the invoice, then credits. Tax is left to others."""


def apply_steps(running: Running) -> list[Line]:
    """All lines of a charge, from its usage line on."""
    for step in STEPS:
        line = step(running)
        if line is not None:
            running.lines.append(line)
    discount_lines(running)
    return running.lines
