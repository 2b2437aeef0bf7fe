"""A price plan: meters that count usage and charges that turn counts into money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeGuard

from serving.pricing.expression import Linear
from serving.pricing.factors.conditions import UNBOUNDED, Factor, FactorBounds
from serving.pricing.factors.demand import Demand
from serving.pricing.line import Part
from serving.pricing.modifiers.commitment import Commitment
from serving.pricing.modifiers.discount import Discount
from serving.pricing.modifiers.quantity import QuantityStep


class ChargeModel(Protocol):
    """How a quantity becomes money."""

    def amount(self, quantity: Decimal) -> Decimal:
        """The unrounded charge for a quantity >= 0 of one billing period."""
        ...

    def explain(self, quantity: Decimal) -> str:
        """The same as a formula that a customer can check by hand."""
        ...


class PartModel(Protocol):
    """A model whose price depends on who used: by operation and micro-operation type."""

    def part_amounts(self, quantities: Mapping[Part, Decimal]) -> Mapping[Part, Decimal]:
        """The unrounded charge of every part."""
        ...


class EventModel(Protocol):
    """A model that prices every event for itself, in the order of time."""

    def event_amounts(self, values: Sequence[Decimal]) -> Sequence[Decimal]:
        """The unrounded charge of every event."""
        ...


def prices_parts(model: ChargeModel) -> TypeGuard[PartModel]:
    """Whether a model is a `PartModel`; asked for every path, where a check of the whole protocol is dear."""
    return hasattr(model, "part_amounts")


def prices_events(model: ChargeModel) -> TypeGuard[EventModel]:
    """Whether a model is an `EventModel`."""
    return hasattr(model, "event_amounts")


@dataclass(frozen=True, slots=True)
class Meter:
    """What is counted: usage of the given micro-operations and operations (empty: all), by a linear expression.

    ``meter`` names the custom units that ``units`` stands for; it is needed for them and for nothing else.
    """

    id: str
    value: Linear
    micro_operation_types: frozenset[str] = frozenset()
    operations: frozenset[str] = frozenset()
    meter: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError when units are counted without naming their meter, or a meter is named without units."""
        fields = set(self.value.coefficients)
        if self.meter and fields != {"units"}:
            raise ValueError(f"meter {self.id!r} names the units of {self.meter!r}, so its value must count units only")
        if not self.meter and "units" in fields:
            raise ValueError(f"meter {self.id!r} counts units; say of which meter, e.g. meter: executions")

    def takes(self, operation: str, micro_operation_type: str, meter: str) -> bool:
        """Whether usage of this kind is counted."""
        return (
            (not self.micro_operation_types or micro_operation_type in self.micro_operation_types)
            and (not self.operations or operation in self.operations)
            and (not self.meter or meter == self.meter)
        )


@dataclass(frozen=True, slots=True)
class Charge:
    """One price: a meter's sum over the period through the quantity steps and a charge model, then the modifiers.

    Without a meter the quantity is 1: a flat fee. What every modifier adds or takes is a line of its own, in the
    order of `serving.pricing.modifiers.order`.
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

    def __post_init__(self) -> None:
        """Raises ValueError for steps on a quantity that is priced in pieces."""
        pieces = prices_parts(self.model) or prices_events(self.model)
        if pieces and (self.quantity_steps or self._commits_to_quantity()):
            raise ValueError("a matrix or percentage has no quantity steps or committed quantity; commit to an amount")

    def _commits_to_quantity(self) -> bool:
        return self.commitment is not None and self.commitment.quantity is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """Prices of one version; amounts in ``currency`` (ISO 4217). A published version never changes."""

    id: str
    version: int
    currency: str
    description: str
    charges: tuple[Charge, ...]
    effective_from_ns: int = 0
    discounts: tuple[Discount, ...] = ()
    factor_bounds: FactorBounds = UNBOUNDED

    def meters(self) -> Mapping[str, Meter]:
        """The meters that charges use, by id."""
        return {charge.meter.id: charge.meter for charge in self.charges if charge.meter is not None}
