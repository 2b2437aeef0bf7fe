"""Currencies, the one rounding, and splits that add up."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal

PRECISION = Context(prec=38, rounding=ROUND_HALF_UP)
"""Every amount is computed with 38 digits."""

_NO_MINOR_UNIT = {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF"} | {
    "XOF",
    "XPF",
}
_THREE_DIGITS = {"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"}


def exponent(currency: str) -> int:
    """Digits after the point of a currency by ISO 4217: 2 for most, 0 for JPY, 3 for KWD."""
    if currency in _NO_MINOR_UNIT:
        return 0
    return 3 if currency in _THREE_DIGITS else 2


def rounded(amount: Decimal, currency: str) -> Decimal:
    """An amount rounded to its currency's minor unit, half away from zero; the only rounding of a bill, once a line."""
    return amount.quantize(Decimal(1).scaleb(-exponent(currency)), ROUND_HALF_UP, PRECISION)


def split(amount: Decimal, weights: Sequence[Decimal], currency: str) -> list[Decimal]:
    """Parts of a rounded amount in proportion to weights >= 0, each in whole minor units, adding up exactly.

    Largest remainder (Hamilton's method); ties go to the earlier part. Without any weight the first part takes all.
    """
    if not weights:
        return []
    whole = sum(weights, Decimal(0))
    if whole == 0:
        return [amount, *[Decimal(0)] * (len(weights) - 1)]
    unit = Decimal(1).scaleb(-exponent(currency))
    exact = [PRECISION.divide(PRECISION.multiply(amount, weight), whole) for weight in weights]
    parts = [value.quantize(unit, ROUND_DOWN, PRECISION) for value in exact]
    left = int((amount - sum(parts, Decimal(0))) / unit)
    sign = 1 if left >= 0 else -1
    order = sorted(range(len(parts)), key=lambda i: (-abs(exact[i] - parts[i]), i))
    for place in order[: abs(left)]:
        parts[place] += sign * unit
    return parts
