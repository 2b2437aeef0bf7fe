"""Factors on a charge: what time of use, demand and service level add to (or take off) the list price, as one line."""

from __future__ import annotations

from decimal import Decimal

from serving.pricing.line import Line
from serving.pricing.modifiers.running import Running
from serving.pricing.money import PRECISION


def factor_line(running: Running) -> Line | None:
    """base x (M - 1), M = sum(q m) / sum(q): the tariff prices the quantity as it is, so no factor moves its tier.

    Computed as base x sum(q (m - 1)) / sum(q), the division last, so that linear prices stay exact.
    """
    whole = sum(running.factor_weights.values(), Decimal(0))
    extra = sum(running.surcharges.values(), Decimal(0))
    if not whole or not extra:
        return None
    base = running.precise
    precise = PRECISION.divide(PRECISION.multiply(base, extra), whole)
    mean = (1 + PRECISION.divide(extra, whole)).quantize(Decimal("0.000001"))
    signs = {value > 0 for value in running.surcharges.values() if value}
    weights = running.surcharges if len(signs) == 1 else None
    return running.line("factor", f"{base.normalize():f} x ({mean.normalize():f} - 1)", precise, weights)
