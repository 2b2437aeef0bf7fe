"""Tariffs on all paths at once, in whole numbers: what per-unit and graduated prices say, exact to the last digit."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal

import numpy as np

from serving.pricing.charges.graduated import Graduated
from serving.pricing.charges.per_unit import PerUnit
from serving.pricing.charges.tier import Tier
from serving.pricing.money import PRECISION
from serving.pricing.plan import Charge
from serving.pricing.proration import Share
from serving.pricing.whole_numbers import LIMIT, Integers, TooLargeError, numerators


def plain_amounts(
    charge: Charge, quantities: Integers, scale: int, digits: int, share: Share
) -> tuple[Integers, Integers] | None:
    """Minor units (half away from zero) of quantities n / 10**scale, and of the true-up to a share of the minimum.

    None for what more than a tariff and a minimum decide. Raises TooLargeError where products do not fit into 64 bits.
    """
    model = charge.model
    bare = not (charge.quantity_steps or charge.commitment or charge.discounts or charge.factors)
    if not bare or charge.maximum is not None:
        return None
    if isinstance(model, PerUnit):
        tiers: tuple[Tier, ...] = (Tier(None, model.unit_price),)
    elif isinstance(model, Graduated) and model.charge_at_zero:
        tiers = model.tiers
    else:
        return None
    prices, price_scale = numerators([tier.unit_price for tier in tiers])
    fees = [tier.flat_fee.scaleb(scale + price_scale) for tier in tiers]
    bounds = [tier.up_to.scaleb(scale) for tier in tiers if tier.up_to is not None]
    bound = PRECISION.multiply(charge.minimum or Decimal(0), share.of_time)
    least = bound.scaleb(scale + price_scale, PRECISION).to_integral_value(ROUND_CEILING)  # amounts are whole numbers
    if any(value != value.to_integral_value() for value in (*fees, *bounds)):
        return None
    highest = float(quantities.max(initial=0)) * max(map(abs, prices)) + float(sum(map(abs, fees), least))
    if highest >= LIMIT or any(price < 0 for price in prices):
        raise TooLargeError(f"amounts up to {highest}")
    amounts, lower = np.zeros(len(quantities), np.int64), 0
    for index, (tier, price, fee) in enumerate(zip(tiers, prices, fees, strict=True)):
        upper = int(min(bounds[index], Decimal(int(LIMIT)))) if tier.up_to is not None else int(LIMIT)
        amounts += price * np.clip(quantities - lower, 0, upper - lower)
        amounts += int(fee) if index == 0 else int(fee) * (quantities > lower)
        lower = upper
    places = scale + price_scale - digits
    if charge.minimum is None:
        return _rounded(amounts, places), np.zeros_like(amounts)
    billed = _rounded(amounts, places)
    # What brings the rounded sum to the rounded bound, in the digits that sums of lines have.
    whole = int((bound + 0).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP).scaleb(digits))
    return billed, np.where(amounts < int(least), whole - billed, 0)


def _rounded(amounts: Integers, places: int) -> Integers:
    """amounts / 10**places, half away from zero."""
    if places <= 0:
        if float(np.abs(amounts).max(initial=0)) * 10.0**-places >= LIMIT:
            raise TooLargeError("amounts in minor units")
        return np.asarray(amounts * 10**-places, np.int64)
    if places > 18:
        raise TooLargeError(f"{places} places to round")
    unit = 10**places
    whole, rest = np.divmod(np.abs(amounts), unit)
    return np.asarray(np.sign(amounts) * (whole + (rest >= unit - rest)), np.int64)
