"""Rating of many futures at once: the same rules as an invoice, over sample paths of a period's usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving.pricing.line import NO_USAGE, Part, summed
from serving.pricing.money import PRECISION, exponent
from serving.pricing.plan import Charge, Plan, prices_events, prices_parts
from serving.pricing.rate import Metered, charge_lines, plan_lines
from serving.pricing.whole_numbers import (
    LIMIT,
    Integers,
    TooLargeError,
    decimals,
    integers,
    numerators,
    split_rows,
    weigh,
)

Taken = tuple[int, Part, Decimal]
"""A column that a charge counts, its part and its coefficient."""

_SOME: Part = ("*", "*")

_FIELD_OF = {
    "cpu_cycles": "cpuCycles",
    "memory_bytes": "memoryBytes",
    "network_bytes": "networkBytes",
    "disk_bytes": "diskBytes",
    "execution_time_ms": "executionTimeMs",
    "events": "events",
}


@dataclass(frozen=True, slots=True)
class UsageColumn:
    """What one column of path totals counts; a ``resource`` that is no field of usage names the meter of its units."""

    operation_id: str
    micro_operation_type: str
    resource: str

    @property
    def field(self) -> str:
        """The field of usage."""
        return _FIELD_OF.get(self.resource, "units")

    @property
    def meter(self) -> str:
        """The meter of custom units, or the empty string."""
        return "" if self.resource in _FIELD_OF else self.resource


@dataclass(frozen=True, slots=True)
class PathCosts:
    """Cost of every path: rounded totals, and parts by (operation, micro-operation) that add up to them."""

    totals: list[Decimal]
    parts: Mapping[Part, list[Decimal]]


def rate_paths(
    plan: Plan,
    columns: Sequence[UsageColumn],
    totals: ArrayLike,
    factors: Mapping[str, Decimal] | None = None,
) -> PathCosts:
    """Price the period's usage on every path; ``totals`` has one row a path, one number a column.

    A path costs exactly what `rate` charges for the same quantities. Numbers are taken to 6 decimals. ``factors`` is
    the mean factor over the period by charge, where time of use, demand or service level make prices differ. Raises
    ValueError for a charge with factors but no mean, or that prices event by event: the sums of a path tell neither.
    """
    means = factors or {}
    for charge in plan.charges:
        if charge.factors and charge.id not in means:
            raise ValueError(f"charge {charge.id!r} of plan {plan.id!r} has factors; give their mean in `factors`")
        if prices_events(charge.model):
            raise ValueError(f"charge {charge.id!r} of plan {plan.id!r} prices single events; paths have sums only")
    values = np.asarray(totals, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("usage on a path must be finite; found nan or infinity, so look at the model of the paths")
    takers = [_taken(charge, columns) for charge in plan.charges]
    if not plan.discounts and all(_plain(charge) for charge in plan.charges):
        with suppress(TooLargeError):
            return _all_at_once(plan, takers, values)
    return _one_by_one(plan, takers, values, means)


def _plain(charge: Charge) -> bool:
    """Whether only the usage line of a charge is shared among parts, by quantity."""
    overage = charge.commitment is not None and charge.commitment.overage_factor != 1
    shared = charge.maximum is not None or charge.discounts or charge.factors or overage
    return not shared and not prices_parts(charge.model)


def _all_at_once(plan: Plan, takers: Sequence[Sequence[Taken]], values: NDArray[np.float64]) -> PathCosts:
    """Every amount by the rules of an invoice, every split on all paths at once; raises TooLargeError."""
    columns, scale = integers(values)
    parts = sorted({part for taken in takers for _, part, _ in taken} | {NO_USAGE})
    place = {part: index for index, part in enumerate(parts)}
    owed = np.zeros((len(values), len(parts)), np.int64)
    for charge, taken in zip(plan.charges, takers, strict=True):
        tops, coefficient_scale = numerators([coefficient for _, _, coefficient in taken])
        places = [(column, place[part], top) for (column, part, _), top in zip(taken, tops, strict=True)]
        weights = weigh(columns, places, len(parts))
        whole = weights.sum(axis=1)
        by_usage, by_none = _charged(charge, whole.tolist(), scale + coefficient_scale, plan.currency)
        owed[:, place[NO_USAGE]] += by_none
        used = whole > 0
        if used.any():
            owed[used] += split_rows(by_usage[used], weights[used])
    digits = exponent(plan.currency)
    sums = decimals(owed.sum(axis=1)[None, :], digits)[0]
    return PathCosts(sums, dict(zip(parts, decimals(np.ascontiguousarray(owed.T), digits), strict=True)))


def _charged(charge: Charge, quantities: list[int], scale: int, currency: str) -> tuple[Integers, Integers]:
    """Minor units a path owes for usage, and for none (fees, minimums, true-ups)."""
    digits = exponent(currency)
    known: dict[int, tuple[int, int]] = {}
    for quantity in quantities:
        if quantity not in known:
            count = Metered({_SOME: Decimal(quantity).scaleb(-scale)} if quantity else {})
            sums = summed(charge_lines(charge, count, currency))
            owed = [int(sums.get(part, Decimal(0)).scaleb(digits)) for part in (_SOME, NO_USAGE)]
            if max(map(abs, owed)) >= LIMIT:
                raise TooLargeError(f"an amount of {sums}")
            known[quantity] = owed[0], owed[1]
    pairs = np.array([known[quantity] for quantity in quantities], np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _one_by_one(
    plan: Plan, takers: Sequence[Sequence[Taken]], values: NDArray[np.float64], means: Mapping[str, Decimal]
) -> PathCosts:
    """Every path as an invoice of its own, for what does not fit the other way."""
    pairs = list(zip(plan.charges, takers, strict=True))
    costs: list[Decimal] = []
    parts: dict[Part, list[Decimal]] = {}
    for index, values_of_path in enumerate(values.tolist()):
        row = [_exact(value) for value in values_of_path]
        lines = plan_lines(plan, [_metered(charge, taken, row, means) for charge, taken in pairs])
        owed = summed(lines)
        costs.append(sum(owed.values(), Decimal(0)))
        for part, amount in owed.items():
            parts.setdefault(part, [Decimal(0)] * len(values))[index] = amount
    return PathCosts(costs, parts)


def _taken(charge: Charge, columns: Sequence[UsageColumn]) -> list[Taken]:
    """(column, part, coefficient) of what the charge's meter counts, parts in sorted order."""
    meter = charge.meter
    if meter is None:
        return []
    found = [
        (index, (column.operation_id, column.micro_operation_type), meter.value.coefficients[column.field])
        for index, column in enumerate(columns)
        if column.field in meter.value.coefficients
        and meter.takes(column.operation_id, column.micro_operation_type, column.meter)
    ]
    return sorted(found, key=lambda item: item[1])


def _metered(charge: Charge, taken: Sequence[Taken], row: Sequence[Decimal], means: Mapping[str, Decimal]) -> Metered:
    quantities = _quantities(taken, row)
    mean = means.get(charge.id)
    if mean is None or not charge.factors:
        return Metered(quantities)
    model = charge.model
    weights = model.part_amounts(quantities) if prices_parts(model) else quantities
    surcharges = {part: PRECISION.multiply(weight, mean - 1) for part, weight in weights.items()}
    return Metered(quantities, weights=weights, surcharges=surcharges)


def _quantities(taken: Sequence[Taken], row: Sequence[Decimal]) -> dict[Part, Decimal]:
    quantities: dict[Part, Decimal] = {}
    for index, part, coefficient in taken:
        if row[index]:
            quantity = PRECISION.multiply(coefficient, row[index])
            quantities[part] = PRECISION.add(quantities.get(part, Decimal(0)), quantity)
    return quantities


def _exact(value: float) -> Decimal:
    return Decimal(int(value)) if float(value).is_integer() else Decimal(f"{value:.6f}")
