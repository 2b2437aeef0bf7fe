"""Plans as YAML files: read, checked with file, line and remedy, and turned into `serving.pricing` plans."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import ValidationError

from serving.plan_schema import (
    ChargeFile,
    DiscountFile,
    MeterFile,
    PlanFile,
    QuantityStepFile,
    ScheduleFile,
    ServiceLevelFile,
)
from serving.pricing.charges.registry import CHARGE_MODELS
from serving.pricing.expression import parse_expression
from serving.pricing.factors.conditions import Factor, FactorBounds
from serving.pricing.factors.demand import Demand
from serving.pricing.factors.schedule import Schedule, Window
from serving.pricing.factors.service_level import ServiceLevel
from serving.pricing.modifiers.commitment import Commitment
from serving.pricing.modifiers.discount import Discount
from serving.pricing.modifiers.quantity import Blocks, FreeUnits, QuantityStep, Rounding
from serving.pricing.plan import Charge, Meter, Plan

HOLIDAY_YEARS = range(2020, 2041)


class PlanError(ValueError):
    """A plan file that cannot be used; the message has file, line, what is wrong and what is allowed."""


def load_plans(directory: Path) -> dict[str, Plan]:
    """The plans of a directory by id; raises PlanError for a missing directory, a bad file or an id used twice."""
    if not directory.is_dir():
        raise PlanError(f"{directory} is no directory; give one with plan files (*.yaml)")
    plans: dict[str, Plan] = {}
    for path in sorted(directory.glob("*.yaml")):
        plan = load_plan(path)
        if plan.id in plans:
            raise PlanError(f"{path}: plan {plan.id!r} is defined twice; give each plan an id of its own")
        plans[plan.id] = plan
    return plans


def load_plan(path: Path) -> Plan:
    """The plan of one file; raises PlanError with file, line, what is wrong and what is allowed."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}; give the path of a plan file") from error
    return parse_plan(text, str(path))


def parse_plan(text: str, name: str = "plan") -> Plan:
    """The plan in a YAML text; ``name`` stands in error messages."""
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PlanError(f"{name}: not valid YAML: {error}") from error
    try:
        file = PlanFile.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise PlanError(
            f"{name}:{_line(root, first['loc'])}: {where}: {first['msg']} (found {first['input']!r:.80})"
        ) from error
    return _Builder(file, root, name).plan()


class _Builder:
    """Turns a checked file into a plan, keeping the place of what it is at for errors."""

    def __init__(self, file: PlanFile, root: yaml.Node | None, name: str) -> None:
        self._file, self._root, self._name = file, root, name

    def plan(self) -> Plan:
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
        return Plan(head.id, head.version, head.currency, head.description, charges, since_ns, discounts, bounds)

    def _meter(self, key: str, file: MeterFile) -> Meter:
        try:
            value = parse_expression(file.value)
            return Meter(key, value, frozenset(file.microOperationType), frozenset(file.operation), file.meter)
        except ValueError as error:
            raise self._error(("meters", key, "value"), str(error)) from error

    def _charge(self, index: int, file: ChargeFile, meters: dict[str, Meter]) -> Charge:
        at = ("charges", index)
        if file.meter is not None and file.meter not in meters:
            known = ", ".join(meters) or "none"
            raise self._error((*at, "meter"), f"unknown meter {file.meter!r}; defined are {known}")
        if (file.meter is None) != (file.model == "flat"):
            raise self._error(at, f"a {file.model} charge {'takes no' if file.model == 'flat' else 'needs a'} meter")
        try:
            model = CHARGE_MODELS[file.model](**file.parameters())
        except TypeError as error:
            raise self._error(at, f"charge {file.id!r} does not fit the model {file.model!r}: {error}") from error
        except ValueError as error:
            raise self._error((*at, "tiers"), str(error)) from error
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
            )
        except PlanError:
            raise
        except ValueError as error:
            raise self._error(at, f"charge {file.id!r}: {error}") from error

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

    def _factor(self, at: tuple[str | int, ...], name: str) -> Factor | Demand:
        if name not in self._factors:
            known = ", ".join(self._factors) or "none"
            raise self._error(at, f"unknown modifier {name!r}; defined in schedules, demand and sla are {known}")
        return self._factors[name]

    def _discounts(self, at: tuple[str | int, ...], files: list[DiscountFile]) -> tuple[Discount, ...]:
        try:
            return tuple(Discount(file.id, file.percent_off, file.amount_off) for file in files)
        except ValueError as error:
            raise self._error(at, str(error)) from error

    def _error(self, location: tuple[str | int, ...], message: str) -> PlanError:
        return PlanError(f"{self._name}:{_line(self._root, location)}: {message}")


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
    return ServiceLevel(key, file.factor, file.measure, steps, file.cap_percent)


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


def _line(node: yaml.Node | None, location: tuple[str | int, ...]) -> int:
    """The line, counted from 1, of the deepest node on the way to a location."""
    line = 1
    for step in location:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == step), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line
