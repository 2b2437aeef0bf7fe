"""Minimum and maximum of a charge: a true-up and an explicit discount, never a hidden clamp."""

from __future__ import annotations

from decimal import Decimal

from serving.pricing.line import NO_USAGE, Line
from serving.pricing.modifiers.running import Running
from serving.pricing.money import PRECISION


def minimum_line(running: Running) -> Line | None:
    """The true-up to a minimum: nothing that was used caused it."""
    low = running.charge.minimum
    if low is None:
        return None
    bound = PRECISION.multiply(low, running.share)
    gap = bound - running.precise
    return running.line("minimum", f"{bound} - {running.amount}", gap, {NO_USAGE: Decimal(1)}) if gap > 0 else None


def maximum_line(running: Running) -> Line | None:
    """The discount down to a maximum, shared by what was used."""
    high = running.charge.maximum
    if high is None:
        return None
    bound = PRECISION.multiply(high, running.share)
    gap = bound - running.precise
    return running.line("maximum", f"{bound} - {running.amount}", gap) if gap < 0 else None
