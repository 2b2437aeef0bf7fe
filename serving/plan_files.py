"""Plans as YAML files: read, checked with file, line and remedy, and turned into `serving.pricing` plans."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from metercast.event import MICRO_OPERATION_TYPES
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from serving.pricing.charges.matrix import Cell
from serving.pricing.charges.registry import CHARGE_MODELS
from serving.pricing.charges.threshold import Level
from serving.pricing.charges.tier import Tier
from serving.pricing.expression import parse_expression
from serving.pricing.modifiers.commitment import Commitment
from serving.pricing.modifiers.discount import Discount
from serving.pricing.modifiers.quantity import Blocks, FreeUnits, QuantityStep, Rounding
from serving.pricing.plan import Charge, Meter, Plan


class PlanError(ValueError):
    """A plan file that cannot be used; the message has file, line, what is wrong and what is allowed."""


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
    """What is counted."""

    value: str
    microOperationType: list[Literal[MICRO_OPERATION_TYPES]] = []  # type: ignore[valid-type]  # noqa: N815
    operation: list[str] = []
    meter: str = ""
    aggregation: Literal["sum"] = "sum"


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
    tiers: list[TierFile] | None = None
    levels: list[LevelFile] | None = None
    cells: list[CellFile] | None = None
    quantity: list[QuantityStepFile] = []
    commitment: CommitmentFile | None = None
    minimum: BoundFile | None = None
    maximum: BoundFile | None = None
    discounts: list[DiscountFile] = []

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
                Cell(cell.unit_price, cell.operation, cell.microOperationType) for cell in self.cells
            )
        return given


_PARAMETERS = (
    *("unit_price", "price", "multiplier", "package_size", "free_units", "round", "minimum_packages", "rate_percent"),
    *("fixed_fee", "free_events", "free_amount", "per_event_min", "per_event_max", "charge_at_zero"),
)


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
        charges = tuple(self._charge(index, charge, meters) for index, charge in enumerate(self._file.charges))
        ids = [charge.id for charge in charges]
        for index, key in enumerate(ids):
            if key in ids[:index]:
                raise self._error(("charges", index, "id"), f"charge {key!r} is there twice; ids must be unique")
        start = head.effective_from if head.effective_from.tzinfo else head.effective_from.replace(tzinfo=UTC)
        since_ns = int(start.timestamp()) * 1_000_000_000
        discounts = self._discounts(("discounts",), self._file.discounts)
        return Plan(head.id, head.version, head.currency, head.description, charges, since_ns, discounts)

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
            )
        except PlanError:
            raise
        except ValueError as error:
            raise self._error(at, f"charge {file.id!r}: {error}") from error

    def _discounts(self, at: tuple[str | int, ...], files: list[DiscountFile]) -> tuple[Discount, ...]:
        try:
            return tuple(Discount(file.id, file.percent_off, file.amount_off) for file in files)
        except ValueError as error:
            raise self._error(at, str(error)) from error

    def _error(self, location: tuple[str | int, ...], message: str) -> PlanError:
        return PlanError(f"{self._name}:{_line(self._root, location)}: {message}")


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
