"""The quick way from JSON to columns: bodies whose every event is in the published types, decoded without dicts.

Anything unusual returns None and is read again by `features.schema`, which tells each bad row apart; the two give the
same columns for the same body.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from metercast.event import FIELDS, MICRO_OPERATION_TYPES, RESOURCE_FIELDS
from numpy.typing import NDArray

from features.compiled_events import batch_from_array, batch_from_own_form
from features.contracts import Batch
from features.schema import ARROW_SCHEMA, LONGEST_NAME, NAMES_WITHOUT_BAR, NEWEST_S, OLDEST_S

_LARGEST = 2**63 - 1
_Count = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
_Amount = Annotated[float, msgspec.Meta(ge=0)]
_Integer = Annotated[int, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
_Text = Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]
_FIELD_TYPES = {
    "timestamp_ns": float,
    "string": _Text,
    "enum": str,
    "count": _Count,
    "amount": _Amount,
    "int64": _Integer,
}
_DEFAULTS: dict[str, Any] = {"string": "", "count": 0, "amount": 0.0, "int64": 0}
_REQUIRED: dict[str, Any] = {"timestamp": float, "operationID": _Name, "microOperationType": str, "userID": _Name}
_BATCH_KEY = ("producer", "epoch", "sequence")
_EVENT_FIELDS = tuple(row for row in FIELDS if row[0] not in RESOURCE_FIELDS and row[0] not in _BATCH_KEY)
_COLUMNS = (*(name for name, _, _ in _EVENT_FIELDS), *RESOURCE_FIELDS)
_values = operator.attrgetter(
    *(name for name, _, _ in _EVENT_FIELDS), *(f"resourceUsage.{name}" for name in RESOURCE_FIELDS)
)
_NUMPY_TYPES = {"count": np.int64, "int64": np.int64, "amount": np.float64}
_TEXTS = tuple(name for name, _, kind in _EVENT_FIELDS if kind == "string")

_Usage: Any = msgspec.defstruct(
    "_Usage",
    [(name, _FIELD_TYPES[kind], _DEFAULTS[kind]) for name, _, kind in FIELDS if name in RESOURCE_FIELDS],
    forbid_unknown_fields=True,
    gc=False,
)
_Event: Any = msgspec.defstruct(
    "_Event",
    [
        *_REQUIRED.items(),
        *((name, _FIELD_TYPES[kind], _DEFAULTS[kind]) for name, _, kind in _EVENT_FIELDS if name not in _REQUIRED),
        ("resourceUsage", _Usage, msgspec.field(default_factory=_Usage)),
    ],
    gc=False,
)
_Body: Any = msgspec.defstruct(
    "_Body", [("producer", _Name), ("epoch", _Count), ("sequence", _Count), ("events", list[_Event])], gc=False
)
_BODY = msgspec.json.Decoder(_Body)
_LIST = msgspec.json.Decoder(list[_Event])


def batch_from_json(body: bytes, now_s: float) -> Batch | None:
    """The profiler's own form as a batch, or None where any part of it is not plainly good."""
    compiled = batch_from_own_form(body, now_s)
    if compiled is not None:
        return compiled
    try:
        document = _BODY.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return _batch(document.events, (document.producer, document.epoch, document.sequence), now_s)


def batch_from_list(body: bytes, key: tuple[str, int, int], now_s: float) -> Batch | None:
    """A JSON array of events as a batch under ``key``, or None where any part of it is not plainly good."""
    compiled = batch_from_array(body, key, now_s)
    if compiled is not None:
        return compiled
    try:
        events = _LIST.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return _batch(events, key, now_s)


def _batch(events: list[Any], key: tuple[str, int, int], now_s: float) -> Batch | None:
    columns: dict[str, Sequence[Any]] = dict.fromkeys(_COLUMNS, ())
    columns |= zip(_COLUMNS, zip(*map(_values, events), strict=True), strict=False)
    seconds = np.array(columns["timestamp"], dtype=np.float64)
    in_time = (seconds <= now_s + NEWEST_S) & (seconds >= now_s - OLDEST_S)  # NaN is neither
    known = set(columns["microOperationType"]).issubset(MICRO_OPERATION_TYPES)
    texts = {name: "\n".join(set(columns[name])) for name in _TEXTS}
    barred = any("|" in texts[name] for name in NAMES_WITHOUT_BAR) or any("\0" in text for text in texts.values())
    if not in_time.all() or not known or barred or "\0" in key[0]:
        return None
    try:
        arrays = [_array(name, kind, columns, key, seconds) for name, _, kind in FIELDS]
    except (pa.ArrowException, UnicodeEncodeError):  # lone surrogates are no UTF-8
        return None
    return Batch(*key, pa.RecordBatch.from_arrays(arrays, schema=ARROW_SCHEMA))


def _array(
    name: str, kind: str, columns: Mapping[str, Sequence[Any]], key: tuple[str, int, int], seconds: NDArray[np.float64]
) -> pa.Array:
    if name in _BATCH_KEY:
        value = key[_BATCH_KEY.index(name)]
        return pa.repeat(pa.scalar(value, ARROW_SCHEMA.field(name).type), len(seconds))
    if kind == "timestamp_ns":
        # The same rounding as features.schema: exact to the microsecond.
        return pa.array(np.rint(seconds * 1e6).astype(np.int64) * 1_000, pa.int64()).cast(ARROW_SCHEMA.field(name).type)
    if kind in _NUMPY_TYPES:  # pyarrow takes numpy's numbers without looking at each
        return pa.array(np.array(columns[name], _NUMPY_TYPES[kind]))
    return pa.array(columns[name], pa.string())
