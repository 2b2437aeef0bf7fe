"""One table of the event's fields, as Arrow schema and as the check that every incoming row passes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from metercast.event import FIELDS, MICRO_OPERATION_TYPES, RESOURCE_FIELDS

_ARROW_TYPES = {
    "timestamp_ns": pa.timestamp("ns", tz="UTC"),
    "string": pa.string(),
    "enum": pa.string(),
    "count": pa.int64(),
    "amount": pa.float64(),
    "int64": pa.int64(),
}
ARROW_SCHEMA = pa.schema([pa.field(name, _ARROW_TYPES[kind], nullable=False) for _, name, kind in FIELDS])
"""Columns of an event in snake_case, in the order of `metercast.event.FIELDS`."""

_BATCH_KEY = frozenset({"producer", "epoch", "sequence"})
_REQUIRED = frozenset({"timestamp", "operationID", "microOperationType", "userID"})
_KNOWN_TYPES = frozenset(MICRO_OPERATION_TYPES)
_LARGEST = 2**63 - 1
LONGEST_NAME = 512
NAMES_WITHOUT_BAR = ("userID", "operationID", "meter")
"""Names that stand in the names of series, whose parts a bar separates."""
OLDEST_S = 35 * 86_400
NEWEST_S = 300
FOR_OLDER = "`metercast backfill` takes older ones in, from a file"


@dataclass(frozen=True, slots=True)
class _Clock:
    """The receiver's clock, and how far behind it an event may be."""

    now_s: float
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that was not taken, and why."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands in the place of an event that could not be read out of its envelope; becomes a rejection."""

    reason: str


def events_from_json(
    events: Sequence[Any], producer: str, epoch: int, sequence: int, now_s: float, oldest_s: float = OLDEST_S
) -> tuple[pa.RecordBatch, list[Rejection]]:
    """Rows of one batch in `ARROW_SCHEMA`, and the rows rejected, each with its reason.

    ``now_s`` is the receiver's clock: an event more than 5 minutes ahead of it or ``oldest_s`` behind is rejected.
    """
    clock = _Clock(now_s, oldest_s)
    columns: dict[str, list[Any]] = {name: [] for _, name, _ in FIELDS}
    rejected = []
    for row, event in enumerate(events):
        try:
            values = _row(event, clock)
        except ValueError as error:
            rejected.append(Rejection(row, str(error)))
            continue
        values |= {"producer": producer, "epoch": epoch, "sequence": sequence}
        for name, value in values.items():
            columns[name].append(value)
    arrays = [pa.array(columns[field.name], field.type) for field in ARROW_SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=ARROW_SCHEMA), rejected


def _row(event: Any, clock: _Clock) -> dict[str, Any]:
    if isinstance(event, Unreadable):
        raise ValueError(event.reason)
    if not isinstance(event, Mapping):
        raise ValueError(f"an event must be an object, not {type(event).__name__}")
    missing = [name for name in sorted(_REQUIRED) if name not in event]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}")
    usage = event.get("resourceUsage") or {}
    if not isinstance(usage, Mapping):
        raise ValueError("resourceUsage must be an object")
    unknown = set(usage) - set(RESOURCE_FIELDS)
    if unknown:
        raise ValueError(f"resourceUsage has unknown members {', '.join(sorted(unknown))}; see the event's fields")
    values: dict[str, Any] = {}
    for json_name, name, kind in FIELDS:
        if json_name in _BATCH_KEY:
            continue
        value = usage.get(json_name, 0) if json_name in RESOURCE_FIELDS else event.get(json_name)
        values[name] = _CHECKS[kind](json_name, value, clock)
    return values


def _timestamp(name: str, value: Any, clock: _Clock) -> int:
    seconds, now_s = _number(name, value), clock.now_s
    if seconds > now_s + NEWEST_S:
        raise ValueError(f"{name} {seconds:.3f} is {seconds - now_s:.0f} s ahead of this clock; at most {NEWEST_S} s")
    if seconds < now_s - clock.oldest_s:
        raise ValueError(f"{name} {seconds:.3f} is older than {clock.oldest_s / 86_400:.0f} days; {FOR_OLDER}")
    return round(seconds * 1e6) * 1_000  # a float of today's epoch seconds is exact to the microsecond


def _string(name: str, value: Any, _clock: _Clock) -> str:
    value = "" if value is None else value
    if not isinstance(value, str) or len(value) > LONGEST_NAME or (name in _REQUIRED and not value):
        raise ValueError(f"{name} must be a string of 1 to {LONGEST_NAME} characters, not {value!r:.60}")
    if "|" in value and name in NAMES_WITHOUT_BAR:
        raise ValueError(f"{name} must not contain '|': {value!r:.60}")
    if "\0" in value:
        raise ValueError(f"{name} must not contain the character NUL: {value!r:.60}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is no valid Unicode, it has half of a surrogate pair: {value!r:.60}") from None
    return value


def _enum(name: str, value: Any, _clock: _Clock) -> str:
    if not isinstance(value, str) or value not in _KNOWN_TYPES:
        raise ValueError(f"{name} {value!r:.60} is unknown; one of {', '.join(MICRO_OPERATION_TYPES)}")
    return value


def _count(name: str, value: Any, _clock: _Clock) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        raise ValueError(f"{name} must be an integer from 0 to 2^63-1, not {value!r:.60}")
    return value


def _amount(name: str, value: Any, _clock: _Clock) -> float:
    number = _number(name, 0.0 if value is None else value)
    if number < 0:
        raise ValueError(f"{name} must be >= 0, not {number!r}")
    return number


def _int64(name: str, value: Any, _clock: _Clock) -> int:
    value = 0 if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or not -_LARGEST <= value <= _LARGEST:
        raise ValueError(f"{name} must be a 64-bit integer, not {value!r:.60}")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, not {value!r:.60}")
    return float(value)


_CHECKS = {
    "timestamp_ns": _timestamp,
    "string": _string,
    "enum": _enum,
    "count": _count,
    "amount": _amount,
    "int64": _int64,
}
