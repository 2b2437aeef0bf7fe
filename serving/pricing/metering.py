"""Metering: what a charge's meters count in the records of a period, and what factors at their instants add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from serving.pricing.aggregation import Sample
from serving.pricing.charges.percentage import Events
from serving.pricing.factors.conditions import LIST_PRICE, Conditions, surcharges_at
from serving.pricing.factors.quote import QuoteBook
from serving.pricing.line import Part
from serving.pricing.money import PRECISION
from serving.pricing.plan import Charge, Meter, Plan, prices_cells, prices_events
from serving.pricing.usage import Period, UsageRecord

Quantities = Mapping[Part, Decimal]
NOTHING: Quantities = {}


@dataclass(frozen=True, slots=True)
class Metered:
    """What a charge's meter counted, by part in sorted order, and event by event where its model asks for that.

    ``quantity`` is the aggregate where it is not the sum of the parts; parts then say only who caused how much.
    ``amounts`` and ``cells`` are for models that price parts; ``inputs`` for formulas, by meter. ``weights`` are what
    factors are averaged over (the list price in a matrix, else the quantity), ``surcharges`` the sums of
    weight x (what the factor adds) by factor and part; both empty where the charge has no factors. ``covered`` are
    quantities by quote.
    """

    quantities: Quantities = field(default_factory=dict)
    quantity: Decimal | None = None
    amounts: Quantities = field(default_factory=dict)
    cells: Mapping[tuple[str, Decimal], Decimal] = field(default_factory=dict)
    events: Sequence[tuple[Part, Events]] = ()
    inputs: Mapping[str, Metered] = field(default_factory=dict)
    weights: Quantities = field(default_factory=dict)
    surcharges: Mapping[str, Quantities] = field(default_factory=dict)
    covered: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def whole(self) -> Decimal:
        """The quantity of all parts together."""
        return self.quantity if self.quantity is not None else sum(self.quantities.values(), Decimal(0))


def metered(
    charge: Charge, records: Sequence[UsageRecord], plan: Plan, period: Period, conditions: Conditions = LIST_PRICE
) -> Metered:
    """What the charge's meters count in the records of a period; the order of records does not matter."""
    if charge.inputs:
        return Metered(inputs={meter.id: _counted(meter, records, period) for meter in charge.inputs})
    if charge.meter is None:
        return Metered()
    taken = sorted(_taken(charge.meter, records), key=lambda item: (item[0].start_ns, item[1], item[2]))
    counter = _Counter(charge, plan, conditions)
    for record, part, value in taken:
        counter.add(record, part, value)
    count = counter.result()
    if charge.meter.aggregation.additive:
        return count
    return Metered(count.quantities, _aggregate(charge.meter, taken, period), events=count.events)


def _taken(meter: Meter, records: Sequence[UsageRecord]) -> list[tuple[UsageRecord, Part, Decimal]]:
    counts = meter.aggregation.kind == "count"
    return [
        (
            record,
            (record.operation_id, record.micro_operation_type),
            Decimal(record.events) if counts else meter.value.of(record.quantities),
        )
        for record in records
        if meter.takes(record.operation_id, record.micro_operation_type, record.meter, record.dimensions)
    ]


def _counted(meter: Meter, records: Sequence[UsageRecord], period: Period) -> Metered:
    """The quantity of one meter of a formula."""
    taken = _taken(meter, records)
    sums: dict[Part, Decimal] = {}
    for _, part, value in taken:
        _add(sums, part, value)
    return Metered(_ordered(sums), _aggregate(meter, taken, period))


def _aggregate(meter: Meter, taken: Sequence[tuple[UsageRecord, Part, Decimal]], period: Period) -> Decimal:
    how = meter.aggregation
    samples = [
        Sample(
            record.start_ns,
            value,
            record.events if how.kind != "count" else int(value),
            tuple(_dimension(record, name) for name in how.group_by),
            _dimension(record, how.of) if how.of else "",
        )
        for record, _, value in taken
        if value or how.kind in ("latest", "time_weighted_average", "unique_count", "average")
    ]
    return how.quantity(samples, period)


def _dimension(record: UsageRecord, name: str) -> str:
    own = {"operation": record.operation_id, "microOperationType": record.micro_operation_type}
    return own.get(name) or record.dimensions.get(name, "")


class _Counter:
    """Adds records up for one charge, in the order of time, as quotes are used up in that order."""

    def __init__(self, charge: Charge, plan: Plan, conditions: Conditions) -> None:
        self._charge, self._plan, self._conditions = charge, plan, conditions
        self._book = QuoteBook(conditions.quotes, charge.id, conditions.used)
        self._sums: dict[Part, Decimal] = {}
        self._amounts: dict[Part, Decimal] = {}
        self._cells: dict[tuple[str, Decimal], Decimal] = {}
        self._events: list[tuple[Part, Events]] = []
        self._weights: dict[Part, Decimal] = {}
        self._surcharges: dict[str, dict[Part, Decimal]] = {}
        self._covered: dict[str, Decimal] = {}
        self._at: dict[int, dict[str, Decimal]] = {}

    def add(self, record: UsageRecord, part: Part, value: Decimal) -> None:
        """Count one record; an event of no value counts only where it is priced as an event of the meter's own."""
        own = self._charge.meter is not None and bool(self._charge.meter.meter)
        if not value and not (own and prices_events(self._charge.model)):
            return
        model, weight = self._charge.model, value
        _add(self._sums, part, value)
        if prices_cells(model):
            cell = model.cell(part, record.dimensions)
            weight = PRECISION.multiply(value, cell.unit_price)
            _add(self._amounts, part, weight)
            key = (cell.label, cell.unit_price)
            self._cells[key] = PRECISION.add(self._cells.get(key, Decimal(0)), value)
        if prices_events(model):
            self._events.append((part, (value, record.events)))
        if self._charge.factors:
            _add(self._weights, part, weight)
            self._surcharge(record.start_ns, part, value, weight)

    def result(self) -> Metered:
        """Everything counted so far."""
        surcharges = {name: _ordered(parts) for name, parts in self._surcharges.items()}
        return Metered(
            _ordered(self._sums),
            amounts=_ordered(self._amounts),
            cells=self._cells,
            events=self._events,
            weights=_ordered(self._weights),
            surcharges=surcharges,
            covered=self._covered,
        )

    def _surcharge(self, time_ns: int, part: Part, value: Decimal, weight: Decimal) -> None:
        added = self._at.get(time_ns)
        if added is None:
            added = surcharges_at(self._charge.factors, self._plan.factor_bounds, self._conditions, time_ns)
            self._at[time_ns] = added
        for name, extra in added.items():
            _add(self._surcharges.setdefault(name, {}), part, PRECISION.multiply(weight, extra))
        factor = 1 + sum(added.values(), Decimal(0))
        for quote, covered, promised in self._book.cover(time_ns, value, factor):
            self._covered[quote] = self._covered.get(quote, Decimal(0)) + covered
            share = weight if covered == value else PRECISION.divide(PRECISION.multiply(weight, covered), value)
            saved = PRECISION.multiply(share, promised - factor)
            _add(self._surcharges.setdefault(f"quote:{quote}", {}), part, saved)


def _add(sums: dict[Part, Decimal], part: Part, value: Decimal) -> None:
    sums[part] = PRECISION.add(sums.get(part, Decimal(0)), value)


def _ordered(sums: Mapping[Part, Decimal]) -> dict[Part, Decimal]:
    return dict(sorted((part, quantity) for part, quantity in sums.items() if quantity))
