"""Rating of many futures at once: the same rules as an invoice, over sample paths of a period's usage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from serving.pricing.line import Part, summed
from serving.pricing.money import PRECISION
from serving.pricing.plan import Charge, EventModel, Plan
from serving.pricing.rate import Metered, plan_lines

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


def rate_paths(plan: Plan, columns: Sequence[UsageColumn], totals: Iterable[Sequence[float]]) -> PathCosts:
    """Price the period's usage on every path; ``totals`` has one row a path, one number a column.

    A path costs exactly what `rate` charges for the same quantities. Numbers are taken to 6 decimals. Raises
    ValueError for a charge that prices event by event: the sums of a path do not tell its events.
    """
    for charge in plan.charges:
        if isinstance(charge.model, EventModel):
            raise ValueError(f"charge {charge.id!r} of plan {plan.id!r} prices single events; paths have sums only")
    rows = [[_exact(value) for value in row] for row in totals]
    takers = [_taken(charge, columns) for charge in plan.charges]
    costs: list[Decimal] = []
    parts: dict[Part, list[Decimal]] = {}
    for index, row in enumerate(rows):
        lines = plan_lines(plan, [Metered(_quantities(taken, row)) for taken in takers])
        owed = summed(lines)
        costs.append(sum(owed.values(), Decimal(0)))
        for part, amount in owed.items():
            parts.setdefault(part, [Decimal(0)] * len(rows))[index] = amount
    return PathCosts(costs, parts)


def _taken(charge: Charge, columns: Sequence[UsageColumn]) -> list[tuple[int, Part, Decimal]]:
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


def _quantities(taken: list[tuple[int, Part, Decimal]], row: Sequence[Decimal]) -> dict[Part, Decimal]:
    quantities: dict[Part, Decimal] = {}
    for index, part, coefficient in taken:
        if row[index]:
            quantity = PRECISION.multiply(coefficient, row[index])
            quantities[part] = PRECISION.add(quantities.get(part, Decimal(0)), quantity)
    return quantities


def _exact(value: float) -> Decimal:
    return Decimal(int(value)) if float(value).is_integer() else Decimal(f"{value:.6f}")
