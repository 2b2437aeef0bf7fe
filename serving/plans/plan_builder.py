"""From a checked plan file to a `serving.pricing` plan, with the place of what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from serving.plans.plan_schema import (
    ChargeFile,
    DiscountFile,
    MeterFile,
    PlanFile,
    QuantityStepFile,
    ScheduleFile,
    ServiceLevelFile,
)
from serving.pricing.aggregation import Aggregation
from serving.pricing.charges.formula import FormulaPrice
from serving.pricing.charges.registry import CHARGE_MODELS
from serving.pricing.expression import parse_expression
from serving.pricing.factors.conditions import Factor, FactorBounds
from serving.pricing.factors.demand import Demand
from serving.pricing.factors.schedule import Schedule, Window
from serving.pricing.factors.service_level import ServiceLevel
from serving.pricing.formula import parse_formula
from serving.pricing.modifiers.commitment import Commitment
from serving.pricing.modifiers.discount import Discount
from serving.pricing.modifiers.quantity import Blocks, FreeUnits, QuantityStep, Rounding
from serving.pricing.plan import Charge, ChargeModel, Meter, Plan

HOLIDAY_YEARS = range(2020, 2041)
Place = tuple[str | int, ...]
"""The way to a value in a plan file: keys and positions."""


class MisplacedError(ValueError):
    """What is wrong, and at which place of the file."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


class PlanBuilder:
    """Turns a checked file into a plan, keeping the place of what it is at for errors."""

    def __init__(self, file: PlanFile) -> None:
        self._file = file

    def plan(self) -> Plan:
        """The plan; raises MisplacedError."""
        head = self._file.plan
        meters = {key: self._meter(key, meter) for key, meter in self._file.meters.items()}
        self._factors = self._all_factors()
        charges = tuple(self._charge(index, charge, meters) for index, charge in enumerate(self._file.charges))
        ids = [charge.id for charge in charges]
        for index, key in enumerate(ids):
            if key in ids[:index]:
                raise self._error(("charges", index, "id"), f"charge {key!r} is there twice; ids must be unique")
        start = head.effective_from if head.effective_from.tzinfo else head.effective_from.replace(tzinfo=UTC)
        since_ns = int(start.timestamp()) * 1_000_000_000
        discounts = self._discounts(("discounts",), self._file.discounts)
        caps = self._file.caps.combined_factor
        try:
            bounds = FactorBounds(caps.floor, caps.cap)
        except ValueError as error:
            raise self._error(("caps", "combined_factor"), str(error)) from error
        return Plan(
            head.id,
            head.version,
            head.currency,
            head.description,
            charges,
            since_ns,
            discounts,
            bounds,
            self._file.minimum.amount if self._file.minimum else None,
            self._file.maximum.amount if self._file.maximum else None,
            self._file.caps.quote_ttl_s,
        )

    def _meter(self, key: str, file: MeterFile) -> Meter:
        try:
            value = parse_expression(file.value)
            how = Aggregation(file.aggregation, file.of, file.percent, file.bucket_s, tuple(file.group_by))
            types, operations = frozenset(file.microOperationType), frozenset(file.operation)
            return Meter(key, value, types, operations, file.meter, how, file.where)
        except ValueError as error:
            raise self._error(("meters", key, "value"), str(error)) from error

    def _charge(self, index: int, file: ChargeFile, meters: dict[str, Meter]) -> Charge:
        at = ("charges", index)
        if file.meter is not None and file.meter not in meters:
            known = ", ".join(meters) or "none"
            raise self._error((*at, "meter"), f"unknown meter {file.meter!r}; defined are {known}")
        alone = file.model in ("flat", "formula")
        if (file.meter is None) != alone:
            raise self._error(at, f"a {file.model} charge {'takes no' if alone else 'needs a'} meter")
        model = self._model(at, file, meters)
        inputs = model.expression.names if isinstance(model, FormulaPrice) else ()
        try:
            return Charge(
                file.id,
                file.description or file.id,
                meters[file.meter] if file.meter is not None else None,
                model,
                file.minimum.amount if file.minimum else None,
                file.maximum.amount if file.maximum else None,
                tuple(_quantity_step(step) for step in file.quantity),
                Commitment(**file.commitment.model_dump()) if file.commitment else None,
                self._discounts((*at, "discounts"), file.discounts),
                tuple(self._factor((*at, "modifiers"), name) for name in file.modifiers),
                tuple(meters[name] for name in inputs),
                file.tax_code,
            )
        except MisplacedError:
            raise
        except ValueError as error:
            raise self._error(at, f"charge {file.id!r}: {error}") from error

    def _model(self, at: Place, file: ChargeFile, meters: dict[str, Meter]) -> ChargeModel:
        try:
            parameters = file.parameters()
            if file.expression is not None:
                parameters["expression"] = parse_formula(file.expression, tuple(meters))
            return CHARGE_MODELS[file.model](**parameters)
        except TypeError as error:
            raise self._error(at, f"charge {file.id!r} does not fit the model {file.model!r}: {error}") from error
        except ValueError as error:
            place = next((key for key in ("expression", "tiers", "levels") if getattr(file, key)), "model")
            raise self._error((*at, place), str(error)) from error

    def _all_factors(self) -> dict[str, Factor | Demand]:
        made: dict[str, Factor | Demand] = {}
        for section in ("schedules", "demand", "sla"):
            for key, file in getattr(self._file, section).items():
                if key in made:
                    raise self._error((section, key), f"modifier {key!r} is there twice; give each a name of its own")
                try:
                    made[key] = _MAKERS[section](key, file)
                except ValueError as error:
                    raise self._error((section, key), str(error)) from error
        return made

    def _factor(self, at: Place, name: str) -> Factor | Demand:
        if name not in self._factors:
            known = ", ".join(self._factors) or "none"
            raise self._error(at, f"unknown modifier {name!r}; defined in schedules, demand and sla are {known}")
        return self._factors[name]

    def _discounts(self, at: Place, files: Sequence[DiscountFile]) -> tuple[Discount, ...]:
        try:
            return tuple(Discount(file.id, file.percent_off, file.amount_off) for file in files)
        except ValueError as error:
            raise self._error(at, str(error)) from error

    def _error(self, place: Place, message: str) -> MisplacedError:
        return MisplacedError(place, message)


def _schedule(key: str, file: ScheduleFile) -> Schedule:
    try:
        zone = ZoneInfo(file.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"unknown time zone {file.timezone!r}; use a name such as Europe/Berlin") from error
    windows = tuple(Window(frozenset(w.days), w.start, w.end, w.factor) for w in file.windows)
    bounds = [_nanoseconds(instant) for instant in (file.effective_from, file.effective_until)]
    return Schedule(key, zone, windows, _holidays(file.holidays), *bounds)


def _holidays(named: str | list[date]) -> frozenset[date]:
    """Dates as listed, or the public holidays of a country (ISO 3166 code) over the years a plan may bill."""
    if not isinstance(named, str):
        return frozenset(named)
    from holidays import country_holidays

    try:
        return frozenset(country_holidays(named, years=HOLIDAY_YEARS))
    except NotImplementedError as error:
        raise ValueError(f"no holidays known for {named!r}; use an ISO 3166 code such as DE, or list dates") from error


def _nanoseconds(instant: datetime | None) -> int | None:
    if instant is None:
        return None
    return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()) * 1_000_000_000


def _service_level(key: str, file: ServiceLevelFile) -> ServiceLevel:
    steps = tuple((step.below, step.percent) for step in file.credits)
    return ServiceLevel(key, file.factor, file.measure, steps, file.cap_percent, file.window_s)


_MAKERS: dict[str, Callable[[str, Any], Factor | Demand]] = {
    "schedules": _schedule,
    "demand": lambda key, file: Demand(key, **file.model_dump()),
    "sla": _service_level,
}


def _quantity_step(file: QuantityStepFile) -> QuantityStep:
    """The one step that a file names."""
    if [file.free, file.round, file.blocks_of].count(None) != 2:
        raise ValueError("a quantity step has exactly one of free, round and blocks_of")
    if file.free is not None:
        return FreeUnits(file.free)
    return Rounding(file.round, file.precision) if file.round is not None else Blocks(file.blocks_of or Decimal(0))
