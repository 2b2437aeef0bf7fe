"""Factors on a charge: what time of use, demand, service level, bounds and quotes add, a line each."""

from __future__ import annotations

from decimal import Decimal

from serving.pricing.line import plain
from serving.pricing.modifiers.running import Running
from serving.pricing.money import PRECISION


def factor_lines(running: Running) -> None:
    """base x (M - 1) for every factor, M - 1 = sum(q x what it adds) / sum(q): no factor moves a tier.

    Computed as base x sum(q x added) / sum(q), the division last, so that linear prices stay exact.
    """
    whole = sum(running.factor_weights.values(), Decimal(0))
    base = running.precise
    for name, parts in running.surcharges.items():
        extra = sum(parts.values(), Decimal(0))
        if not whole or not extra:
            continue
        precise = PRECISION.divide(PRECISION.multiply(base, extra), whole)
        mean = PRECISION.divide(extra, whole).quantize(Decimal("0.000001"))
        signs = {value > 0 for value in parts.values() if value}
        weights = parts if len(signs) == 1 else None
        running.line("factor", f"{plain(base)} x {plain(mean)}", precise, weights, tag=name, about=name)
