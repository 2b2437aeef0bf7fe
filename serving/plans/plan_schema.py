"""The shape of a plan file: its fields, checked by pydantic; configs/plans/schema.json is generated from here."""

from __future__ import annotations

import json
import sys
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal

from metercast.event import MICRO_OPERATION_TYPES
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from serving.pricing.aggregation import KINDS
from serving.pricing.charges.matrix import Cell
from serving.pricing.charges.registry import CHARGE_MODELS
from serving.pricing.charges.threshold import Level
from serving.pricing.charges.tier import Tier
from serving.pricing.factors.schedule import DAYS
from serving.pricing.factors.service_level import MEASURES


def _money(value: object) -> object:
    """Amounts are strings or integers: a YAML float has lost digits before anyone can check it."""
    if isinstance(value, float):
        raise ValueError(f'write the amount as a string, "{value}", so that it stays exact')
    return value


Amount = Annotated[Decimal, BeforeValidator(_money), Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TierFile(_Strict):
    """A tier; ``up_to: null`` is open. ``rate_percent`` takes the place of the unit price in graduated percentages."""

    up_to: Amount | None
    unit_price: Amount = Decimal(0)
    rate_percent: Amount | None = None
    flat_fee: Amount = Decimal(0)


class LevelFile(_Strict):
    """A level of a threshold charge."""

    at: Amount
    factor: Amount


class CellFile(_Strict):
    """A price of a matrix; what is left out matches any."""

    unit_price: Amount
    operation: str = ""
    microOperationType: Literal[("", *MICRO_OPERATION_TYPES)] = ""  # type: ignore[valid-type]  # noqa: N815
    dimensions: dict[str, str] = {}


class QuantityStepFile(_Strict):
    """One step before pricing: exactly one of the three."""

    free: Amount | None = None
    round: Literal["round", "ceil", "floor"] | None = None
    precision: int = 0
    blocks_of: Amount | None = None


class CommitmentFile(_Strict):
    """A committed amount or quantity."""

    amount: Amount | None = None
    quantity: Amount | None = None
    overage_factor: Amount = Decimal(1)
    true_up: bool = True


class DiscountFile(_Strict):
    """Percent or amount off."""

    id: str
    percent_off: Amount | None = None
    amount_off: Amount | None = None


class BoundFile(_Strict):
    """A minimum or maximum of a charge."""

    amount: Amount


class MeterFile(_Strict):
    """What is counted, and how a period's usage becomes one quantity."""

    value: str = "events"
    microOperationType: list[Literal[MICRO_OPERATION_TYPES]] = []  # type: ignore[valid-type]  # noqa: N815
    operation: list[str] = []
    meter: str = ""
    where: dict[str, str] = {}
    aggregation: Literal[tuple(KINDS)] = "sum"  # type: ignore[valid-type]
    of: str = ""
    percent: Amount = Decimal(95)
    bucket_s: int | None = Field(default=None, gt=0)
    group_by: list[str] = []


class ChargeFile(_Strict):
    """One price of a meter: a model with its parameters, quantity steps before it and modifiers after it."""

    id: str
    model: Literal[tuple(CHARGE_MODELS)]  # type: ignore[valid-type]
    description: str = ""
    meter: str | None = None
    unit_price: Amount | None = None
    price: Amount | None = None
    multiplier: Amount | None = None
    package_size: Amount | None = None
    free_units: Amount | None = None
    round: Literal["up", "down"] | None = None
    minimum_packages: int | None = Field(default=None, ge=0)
    rate_percent: Amount | None = None
    fixed_fee: Amount | None = None
    free_events: int | None = Field(default=None, ge=0)
    free_amount: Amount | None = None
    per_event_min: Amount | None = None
    per_event_max: Amount | None = None
    charge_at_zero: bool | None = None
    due: Literal["arrears", "advance"] | None = None
    prorate: Literal["second", "day"] | None = None
    expression: str | None = None
    tiers: list[TierFile] | None = None
    levels: list[LevelFile] | None = None
    cells: list[CellFile] | None = None
    quantity: list[QuantityStepFile] = []
    commitment: CommitmentFile | None = None
    minimum: BoundFile | None = None
    maximum: BoundFile | None = None
    discounts: list[DiscountFile] = []
    modifiers: list[str] = []
    tax_code: str = ""

    def parameters(self) -> dict[str, Any]:
        """What the model is made with: every parameter that the file gives."""
        given = {key: value for key in _PARAMETERS if (value := getattr(self, key)) is not None}
        if self.tiers is not None:
            given["tiers"] = tuple(
                Tier(tier.up_to, tier.unit_price if tier.rate_percent is None else tier.rate_percent, tier.flat_fee)
                for tier in self.tiers
            )
        if self.levels is not None:
            given["levels"] = tuple(Level(level.at, level.factor) for level in self.levels)
        if self.cells is not None:
            given["cells"] = tuple(
                Cell(cell.unit_price, cell.operation, cell.microOperationType, cell.dimensions) for cell in self.cells
            )
        return given


_PARAMETERS = (
    *("unit_price", "price", "multiplier", "package_size", "free_units", "round", "minimum_packages", "rate_percent"),
    *("fixed_fee", "free_events", "free_amount", "per_event_min", "per_event_max", "charge_at_zero"),
    *("due", "prorate"),
)


class WindowFile(_Strict):
    """A span of local time with its factor."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    days: list[Literal[DAYS]] = Field(min_length=1)  # type: ignore[valid-type]
    start: time = Field(alias="from")
    end: time = Field(alias="to")
    factor: Amount


class ScheduleFile(_Strict):
    """Time of use."""

    timezone: str = "UTC"
    holidays: str | list[date] = []
    windows: list[WindowFile] = Field(min_length=1)
    effective_from: datetime | None = None
    effective_until: datetime | None = None


class DemandFile(_Strict):
    """The rules of demand pricing; the parameters of `serving.pricing.factors.demand.Demand`."""

    signal: str
    target: Amount
    elasticity: Amount
    floor: Amount
    cap: Amount
    half_life_s: int
    max_step: Amount
    interval_s: int
    lead_s: int
    stale_after_s: int
    capacity: Amount = Decimal(1)


class CreditStepFile(_Strict):
    """Percent of the fees credited below an availability."""

    below: Amount
    percent: Amount


class ServiceLevelFile(_Strict):
    """A promise, its price and its credits."""

    factor: Amount = Decimal(1)
    measure: dict[Literal[tuple(MEASURES)], Amount] = {}  # type: ignore[valid-type]
    window_s: int = Field(default=300, gt=0)
    credits: list[CreditStepFile] = []
    cap_percent: Amount = Decimal(100)


class FactorBoundsFile(_Strict):
    """Bounds of the combined factor."""

    floor: Amount = Decimal(0)
    cap: Amount | None = None


class CapsFile(_Strict):
    """What bounds factors."""

    combined_factor: FactorBoundsFile = FactorBoundsFile()
    quote_ttl_s: int = Field(default=900, gt=0)


class OverrideFile(_Strict):
    """What was agreed with one customer: keys of charges (by id) that differ, and discounts on top."""

    charges: dict[str, dict[str, Any]] = {}
    discounts: list[DiscountFile] = []


class HeadFile(_Strict):
    """What the plan is called and from when it holds."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    version: int = Field(ge=1)
    currency: str = Field(pattern="^[A-Z]{3}$")
    description: str = ""
    effective_from: datetime = datetime(1970, 1, 1, tzinfo=UTC)


class PlanFile(_Strict):
    """A plan file as a whole; its JSON Schema is configs/plans/schema.json."""

    plan: HeadFile
    meters: dict[str, MeterFile] = {}
    charges: list[ChargeFile] = Field(min_length=1)
    discounts: list[DiscountFile] = []
    schedules: dict[str, ScheduleFile] = {}
    demand: dict[str, DemandFile] = {}
    sla: dict[str, ServiceLevelFile] = {}
    caps: CapsFile = CapsFile()
    minimum: BoundFile | None = None
    maximum: BoundFile | None = None
    overrides: dict[str, OverrideFile] = {}


def json_schema() -> str:
    """The JSON Schema of plan files, as configs/plans/schema.json holds it."""
    return json.dumps(PlanFile.model_json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
