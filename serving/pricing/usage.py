"""What is billed: usage of one kind over one span of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """Usage of one user, operation, micro-operation and meter in [start_ns, end_ns), Unix nanoseconds.

    ``quantities`` maps the fields of `serving.pricing.expression.FIELDS` to exact amounts >= 0; ``dimensions`` are
    what else usage is told apart by, as ``region``.
    """

    start_ns: int
    end_ns: int
    user_id: str
    operation_id: str
    micro_operation_type: str
    meter: str = ""
    quantities: Mapping[str, Decimal] = field(default_factory=dict)
    dimensions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError for negative or non-finite quantities."""
        for name, quantity in self.quantities.items():
            if not quantity.is_finite() or quantity < 0:
                raise ValueError(f"{name} of {self.operation_id!r} is {quantity}; usage must be finite and >= 0")

    @property
    def events(self) -> int:
        """How many events the record stands for: those it counts, else one."""
        return int(self.quantities.get("events", 1)) or 1


@dataclass(frozen=True, slots=True)
class Period:
    """A billing period [start_ns, end_ns), Unix nanoseconds."""

    start_ns: int
    end_ns: int

    def __post_init__(self) -> None:
        """Raises ValueError unless it ends after it starts."""
        if self.end_ns <= self.start_ns:
            raise ValueError(f"a period from {self.start_ns} to {self.end_ns} ns does not end after it starts")


def parse_meter(name: str) -> tuple[str, dict[str, str]]:
    """A meter's name and its dimensions: ``tokens{region=eu,model=large}`` is tokens of a region and a model.

    Text that is not of that form is a name as a whole.
    """
    base, brace, rest = name.partition("{")
    if not brace or not rest.endswith("}"):
        return name, {}
    pairs = [pair.partition("=") for pair in rest[:-1].split(",")]
    if not all(key.strip() and equals for key, equals, _ in pairs):
        return name, {}
    return base, {key.strip(): value.strip() for key, _, value in pairs}
