"""A price plan: meters that count usage and charges that turn counts into money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol, TypeGuard

from serving.pricing.aggregation import Aggregation
from serving.pricing.charges.matrix import Cell
from serving.pricing.charges.percentage import Events
from serving.pricing.expression import Linear
from serving.pricing.factors.conditions import UNBOUNDED, Factor, FactorBounds
from serving.pricing.factors.demand import Demand
from serving.pricing.line import Part, Step
from serving.pricing.modifiers.commitment import Commitment
from serving.pricing.modifiers.discount import Discount
from serving.pricing.modifiers.quantity import QuantityStep

SUM = Aggregation()
_NONE: Mapping[str, str] = {}


class ChargeModel(Protocol):
    """How a quantity becomes money."""

    def amount(self, quantity: Decimal) -> Decimal:
        """The unrounded charge for a quantity >= 0 of one billing period."""
        ...

    def steps(self, quantity: Decimal) -> tuple[Step, ...]:
        """The same term by term, adding up to the amount exactly."""
        ...


class CellModel(Protocol):
    """A model whose price depends on who used and where: by operation, micro-operation type and dimensions."""

    def cell(self, part: Part, dimensions: Mapping[str, str]) -> Cell:
        """The price of usage of one kind."""
        ...

    def cell_steps(self, quantities: Mapping[tuple[str, Decimal], Decimal]) -> tuple[Step, ...]:
        """The charge term by term, from quantities by (label of the cell, unit price)."""
        ...


class EventModel(Protocol):
    """A model that prices every event for itself, in the order of time."""

    def event_amounts(self, events: Sequence[Events]) -> Sequence[Decimal]:
        """The unrounded charge of every record of events."""
        ...

    def event_steps(self, events: Sequence[Events]) -> tuple[Step, ...]:
        """The charge of all of them term by term."""
        ...


class InputModel(Protocol):
    """A model that prices the quantities of several meters together."""

    def input_amount(self, quantities: Mapping[str, Decimal]) -> Decimal:
        """The unrounded charge for quantities by meter."""
        ...

    def input_steps(self, quantities: Mapping[str, Decimal]) -> tuple[Step, ...]:
        """The charge term by term."""
        ...


def prices_cells(model: ChargeModel) -> TypeGuard[CellModel]:
    """Whether a model is a `CellModel`; asked for every path, where a check of the whole protocol is dear."""
    return hasattr(model, "cell_steps")


def prices_events(model: ChargeModel) -> TypeGuard[EventModel]:
    """Whether a model is an `EventModel`."""
    return hasattr(model, "event_steps")


def prices_inputs(model: ChargeModel) -> TypeGuard[InputModel]:
    """Whether a model is an `InputModel`."""
    return hasattr(model, "input_steps")


@dataclass(frozen=True, slots=True)
class Meter:
    """What is counted: usage of the given micro-operations and operations (empty: all), by a linear expression.

    ``meter`` names the custom units that ``units`` stands for; it is needed for them and for nothing else.
    ``where`` are values that dimensions must have.
    """

    id: str
    value: Linear
    micro_operation_types: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    meter: str = ""
    aggregation: Aggregation = SUM
    where: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError when units are counted without naming their meter, or a meter is named without units."""
        fields = set(self.value.coefficients)
        if self.meter and fields != {"units"}:
            raise ValueError(f"meter {self.id!r} names the units of {self.meter!r}, so its value must count units only")
        if not self.meter and "units" in fields:
            raise ValueError(f"meter {self.id!r} counts units; say of which meter, e.g. meter: executions")

    def takes(
        self, operation: str, micro_operation_type: str, meter: str, dimensions: Mapping[str, str] = _NONE
    ) -> bool:
        """Whether usage of this kind is counted."""
        return (
            (not self.micro_operation_types or micro_operation_type in self.micro_operation_types)
            and (not self.operations or operation in self.operations)
            and (not self.meter or meter == self.meter)
            and all(dimensions.get(name) == value for name, value in self.where.items())
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """One price: a meter's quantity over the period through the quantity steps and a charge model, then the modifiers.

    Without a meter the quantity is 1: a flat fee; ``inputs`` are the meters of a formula. What every modifier adds or
    takes is a line of its own, in the order of `serving.pricing.modifiers.order`.
    """

    id: str
    description: str
    meter: Meter | None
    model: ChargeModel
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    quantity_steps: tuple[QuantityStep, ...] = ()
    commitment: Commitment | None = None
    discounts: tuple[Discount, ...] = ()
    factors: tuple[Factor | Demand, ...] = ()
    inputs: tuple[Meter, ...] = ()
    tax_code: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for steps on a quantity that is priced in pieces, and factors on what has no instants."""
        pieces = prices_cells(self.model) or prices_events(self.model) or prices_inputs(self.model)
        if pieces and (self.quantity_steps or self._commits_to_quantity()):
            raise ValueError("a matrix, percentage or formula has no quantity steps; commit to an amount")
        additive = self.meter is None or self.meter.aggregation.additive
        if not additive and pieces:
            raise ValueError("a matrix or percentage prices sums and counts; use another model for this aggregation")
        if self.factors and (not additive or self.meter is None or prices_events(self.model)):
            raise ValueError("modifiers multiply what has an instant: a meter that is a sum or count, not by event")

    def _commits_to_quantity(self) -> bool:
        return self.commitment is not None and self.commitment.quantity is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """Prices of one version; amounts in ``currency`` (ISO 4217). A published version never changes.

    ``minimum`` and ``maximum`` bound the spend of a whole period; ``overrides`` hold the plan as it is for single
    customers. ``digest`` tells contents apart.
    """

    id: str
    version: int
    currency: str
    description: str
    charges: tuple[Charge, ...]
    effective_from_ns: int = 0
    discounts: tuple[Discount, ...] = ()
    factor_bounds: FactorBounds = UNBOUNDED
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    quote_ttl_s: int = 900
    overrides: Mapping[str, Plan] = field(default_factory=dict, compare=False)
    digest: str = field(default="", compare=False)
    text: str = field(default="", compare=False, repr=False)

    def of_customer(self, user: str) -> Plan:
        """The plan with what was agreed with one customer."""
        return self.overrides.get(user, self)

    def meters(self) -> Mapping[str, Meter]:
        """The meters that charges use, by id."""
        used = [meter for charge in self.charges for meter in (charge.meter, *charge.inputs) if meter is not None]
        return {meter.id: meter for meter in used}
