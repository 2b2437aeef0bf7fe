"""Rating of many futures at once: the same rules as an invoice, over sample paths of a period's usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving.pricing.line import NO_USAGE, Part, summed
from serving.pricing.metering import Metered
from serving.pricing.money import PRECISION, exponent
from serving.pricing.plan import Charge, Meter, Plan, prices_cells, prices_events
from serving.pricing.proration import WHOLE, Share
from serving.pricing.rate import charge_lines, plan_lines
from serving.pricing.usage import parse_meter
from serving.pricing.whole_numbers import (
    FACTOR_UNIT,
    LIMIT,
    Integers,
    TooLargeError,
    decimals,
    integers,
    numerators,
    split_rows,
    surcharges,
    weigh,
    whole_factors,
)
from serving.pricing.whole_tariffs import plain_amounts

Taken = tuple[int, Part, Decimal]
"""A column that a charge counts, its part and its coefficient."""

Means = Mapping[str, Decimal | NDArray[np.float64]]
"""By charge: the mean factor over the period, one for all, or one a path and column (paths, columns)."""

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
        """The meter of custom units without its dimensions, or the empty string."""
        return "" if self.resource in _FIELD_OF else parse_meter(self.resource)[0]

    @property
    def dimensions(self) -> Mapping[str, str]:
        """The dimensions that the meter's name carries."""
        return parse_meter(self.resource)[1]


@dataclass(frozen=True, slots=True)
class PathCosts:
    """Cost of every path: rounded totals, and parts by (operation, micro-operation) that add up to them."""

    totals: list[Decimal]
    parts: Mapping[Part, list[Decimal]]


def rate_paths(
    plan: Plan,
    columns: Sequence[UsageColumn],
    totals: ArrayLike,
    factors: Means | None = None,
    share: Share = WHOLE,
) -> PathCosts:
    """Price the period's usage on every path; ``totals`` has one row a path, one number a column.

    A path costs exactly what `rate` charges for the same quantities; events of one kind count as equal, as all that
    a path knows of them is their sum. Numbers are taken to 6 decimals. ``factors`` is needed for charges whose prices
    differ by time of use, demand or service level; ``share`` is the part of a whole billing period that this is.
    Raises ValueError for a charge with factors but no mean, or whose meter needs more than sums.
    """
    means = factors or {}
    for charge in plan.charges:
        if charge.factors and charge.id not in means:
            raise ValueError(f"charge {charge.id!r} of plan {plan.id!r} has factors; give their mean in `factors`")
        for meter in (charge.meter, *charge.inputs):
            if meter is not None and not meter.aggregation.additive:
                raise ValueError(
                    f"charge {charge.id!r} of plan {plan.id!r} bills the {meter.aggregation.kind} of {meter.id!r}, "
                    "which cannot be told from the sums of a sample path; estimates need sums and counts"
                )
    values = np.asarray(totals, np.float64)
    if not np.isfinite(values).all():
        raise ValueError("usage on a path must be finite; found nan or infinity, so look at the model of the paths")
    takers = [_taken(charge.meter, columns) for charge in plan.charges]
    if not plan.discounts and plan.minimum is None and plan.maximum is None and all(map(_plain, plan.charges)):
        with suppress(TooLargeError):
            return _all_at_once(plan, takers, values, means, share)
    return _one_by_one(plan, columns, takers, values, means, share)


def _plain(charge: Charge) -> bool:
    """Whether what usage owes of a charge is shared among parts by quantity, times the factor where there is one."""
    overage = charge.commitment is not None and charge.commitment.overage_factor != 1
    shared = charge.maximum is not None or charge.discounts or overage or charge.inputs
    return not shared and not prices_cells(charge.model) and not prices_events(charge.model)


def _all_at_once(
    plan: Plan, takers: Sequence[Sequence[Taken]], values: NDArray[np.float64], means: Means, share: Share
) -> PathCosts:
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
        extras = None
        if charge.factors:
            factors = whole_factors(means[charge.id], columns.shape)
            extras = surcharges(columns, factors, places)
            weights = weigh(columns * factors, places, len(parts))
        by_usage, by_none = _charged(charge, whole, extras, scale + coefficient_scale, plan.currency, share)
        owed[:, place[NO_USAGE]] += by_none
        used = weights.sum(axis=1) > 0
        if used.any():
            owed[used] += split_rows(by_usage[used], weights[used])
    digits = exponent(plan.currency)
    sums = decimals(owed.sum(axis=1)[None, :], digits)[0]
    return PathCosts(sums, dict(zip(parts, decimals(np.ascontiguousarray(owed.T), digits), strict=True)))


def _charged(
    charge: Charge, whole: Integers, extras: Sequence[int] | None, scale: int, currency: str, share: Share
) -> tuple[Integers, Integers]:
    """Minor units a path owes for usage, and for none (fees, minimums, true-ups)."""
    digits = exponent(currency)
    quick = plain_amounts(charge, whole, scale, digits, share) if charge.meter is not None else None
    if quick is not None:
        amounts, true_ups = quick
        return np.where(whole > 0, amounts, 0), np.where(whole > 0, 0, amounts) + true_ups
    known: dict[tuple[int, int], tuple[int, int]] = {}
    pairs = list(zip(whole.tolist(), extras if extras is not None else [0] * len(whole), strict=True))
    for pair in pairs:
        if pair not in known:
            known[pair] = _owed(charge, pair, scale, currency, share)
            if max(map(abs, known[pair])) >= LIMIT:
                raise TooLargeError(f"an amount of {known[pair]}")
    rows = np.array([known[pair] for pair in pairs], np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _owed(charge: Charge, pair: tuple[int, int], scale: int, currency: str, share: Share) -> tuple[int, int]:
    """Minor units for usage and for none, of a quantity and what factors add to it, by the lines of an invoice."""
    quantities = {_SOME: Decimal(pair[0]).scaleb(-scale)} if pair[0] else {}
    count = Metered(quantities)
    if charge.factors:
        extra = Decimal(pair[1]).scaleb(-scale, PRECISION) / FACTOR_UNIT
        count = Metered(quantities, weights=quantities, surcharges={"factors": {_SOME: extra}})
    sums = summed(charge_lines(charge, count, currency, share, explained=False))
    by_usage, by_none = (int(sums.get(part, Decimal(0)).scaleb(exponent(currency))) for part in (_SOME, NO_USAGE))
    return by_usage, by_none


def _one_by_one(
    plan: Plan,
    columns: Sequence[UsageColumn],
    takers: Sequence[Sequence[Taken]],
    values: NDArray[np.float64],
    means: Means,
    share: Share,
) -> PathCosts:
    """Every path as an invoice of its own, for what does not fit the other way."""
    counters = [
        _PathMeter(charge, columns, taken, means.get(charge.id))
        for charge, taken in zip(plan.charges, takers, strict=True)
    ]
    costs: list[Decimal] = []
    parts: dict[Part, list[Decimal]] = {}
    for index, values_of_path in enumerate(values.tolist()):
        row = [_exact(value) for value in values_of_path]
        lines = plan_lines(plan, [counter.count(index, row) for counter in counters], share, explained=False)
        owed = summed(lines)
        costs.append(sum(owed.values(), Decimal(0)))
        for part, amount in owed.items():
            parts.setdefault(part, [Decimal(0)] * len(values))[index] = amount
    return PathCosts(costs, parts)


def _taken(meter: Meter | None, columns: Sequence[UsageColumn]) -> list[Taken]:
    """(column, part, coefficient) of what a meter counts, parts in sorted order."""
    if meter is None:
        return []
    counted = {"events": Decimal(1)} if meter.aggregation.kind == "count" else meter.value.coefficients
    found = [
        (index, (column.operation_id, column.micro_operation_type), counted[column.field])
        for index, column in enumerate(columns)
        if column.field in counted
        and meter.takes(column.operation_id, column.micro_operation_type, column.meter, column.dimensions)
    ]
    return sorted(found, key=lambda item: item[1])


class _PathMeter:
    """What one charge counts on one path after the other."""

    def __init__(
        self,
        charge: Charge,
        columns: Sequence[UsageColumn],
        taken: Sequence[Taken],
        means: Decimal | NDArray[np.float64] | None,
    ) -> None:
        self._charge, self._taken = charge, taken
        self._dimensions = [column.dimensions for column in columns]
        self._means = None if not charge.factors else means
        self._inputs = {meter.id: _taken(meter, columns) for meter in charge.inputs}
        events = {(c.operation_id, c.micro_operation_type): i for i, c in enumerate(columns) if c.field == "events"}
        self._events = events if prices_events(charge.model) else {}

    def count(self, path: int, row: Sequence[Decimal]) -> Metered:
        """What is metered in one row of exact quantities."""
        quantities = _quantities(self._taken, row)
        if self._inputs:
            return Metered(inputs={name: Metered(_quantities(taken, row)) for name, taken in self._inputs.items()})
        if prices_events(self._charge.model):
            counts = {part: int(row[index]) for part, index in self._events.items()}
            return Metered(
                quantities, events=[(part, (value, counts.get(part) or 1)) for part, value in quantities.items()]
            )
        if not prices_cells(self._charge.model) and self._means is None:
            return Metered(quantities)
        return self._priced(path, row, quantities)

    def _priced(self, path: int, row: Sequence[Decimal], quantities: Mapping[Part, Decimal]) -> Metered:
        """Column by column, as price and factor may differ between columns of one part."""
        model, amounts, surcharges = self._charge.model, dict[Part, Decimal](), dict[Part, Decimal]()
        for index, part, coefficient in self._taken:
            if not row[index]:
                continue
            weight = PRECISION.multiply(coefficient, row[index])
            if prices_cells(model):
                weight = PRECISION.multiply(weight, model.cell(part, self._dimensions[index]).unit_price)
            amounts[part] = PRECISION.add(amounts.get(part, Decimal(0)), weight)
            mean = self._means
            if mean is not None:
                factor = mean if isinstance(mean, Decimal) else _exact(float(mean[path, index]))
                extra = PRECISION.multiply(weight, factor - 1)
                surcharges[part] = PRECISION.add(surcharges.get(part, Decimal(0)), extra)
        if self._means is None:
            return Metered(quantities, amounts=amounts)
        return Metered(quantities, amounts=amounts, weights=amounts, surcharges={"factors": surcharges})


def _quantities(taken: Sequence[Taken], row: Sequence[Decimal]) -> dict[Part, Decimal]:
    quantities: dict[Part, Decimal] = {}
    for index, part, coefficient in taken:
        if row[index]:
            quantity = PRECISION.multiply(coefficient, row[index])
            quantities[part] = PRECISION.add(quantities.get(part, Decimal(0)), quantity)
    return quantities


def _exact(value: float) -> Decimal:
    return Decimal(int(value)) if float(value).is_integer() else Decimal(f"{value:.6f}")
