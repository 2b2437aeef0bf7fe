"""Which usage any plan prices: the rest is neither forecast nor sampled for a bill, as no bill depends on it."""

from __future__ import annotations

from collections.abc import Iterable

from serving.pricing.paths import UsageColumn
from serving.pricing.plan import Charge, Meter, Plan, prices_events


class PricedUsage:
    """The columns that some charge of some plan counts."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self._counted = [
            (meter, _fields(charge, meter))
            for plan in plans
            for charge in plan.charges
            for meter in (charge.meter, *charge.inputs)
            if meter is not None
        ]

    def resource(self, name: str) -> bool:
        """Whether a resource, or a meter of units, is counted of any micro-operation."""
        field = UsageColumn("", "", name).field
        return any(field in fields for _, fields in self._counted)

    def column(self, column: UsageColumn) -> bool:
        """Whether usage of one kind is counted."""
        return any(column.field in fields and _takes(meter, column) for meter, fields in self._counted)


class UnpricedUsage:
    """All other columns: nothing is paid for them, but projections of usage tell them too."""

    def __init__(self, priced: PricedUsage) -> None:
        self._priced = priced

    def resource(self, name: str) -> bool:  # noqa: ARG002 -- of some micro-operation any may be unpriced
        """Always true."""
        return True

    def column(self, column: UsageColumn) -> bool:
        """Whether usage of one kind is counted by no plan."""
        return not self._priced.column(column)


Wanted = PricedUsage | UnpricedUsage
"""Which columns are looked at."""


def _fields(charge: Charge, meter: Meter) -> frozenset[str]:
    """The fields of usage that a meter counts; charges by event also need to know how many there were."""
    counted = {"events"} if meter.aggregation.kind == "count" else set(meter.value.coefficients)
    return frozenset(counted | ({"events"} if prices_events(charge.model) else set()))


def _takes(meter: Meter, column: UsageColumn) -> bool:
    if column.field == "events":  # they are those of all meters and dimensions together
        return meter.takes(column.operation_id, column.micro_operation_type, meter.meter, meter.where)
    return meter.takes(column.operation_id, column.micro_operation_type, column.meter, column.dimensions)
