"""The quickest way from JSON to columns: compiled, for bodies whose every event is plainly good; None for all others.

Where the extension was not built `IS_COMPILED` is false, and `features.typed_events` decodes in Python.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np
import pyarrow as pa
from metercast.event import FIELDS, MICRO_OPERATION_TYPES, RESOURCE_FIELDS

from features.contracts import Batch
from features.schema import ARROW_SCHEMA, LONGEST_NAME, NAMES_WITHOUT_BAR, NEWEST_S, OLDEST_S

try:
    from features._columns import decode
except ImportError:
    IS_COMPILED = False
else:
    IS_COMPILED = True

_BATCH_KEY = ("producer", "epoch", "sequence")
_REQUIRED = ("timestamp", "operationID", "microOperationType", "userID")
_KINDS = {"timestamp_ns": "t", "string": "s", "enum": "e", "count": "c", "amount": "a", "int64": "i"}
_COLUMNS = tuple(row for row in FIELDS if row[0] not in _BATCH_KEY)
_TABLE = tuple(
    (name, "n" if name in NAMES_WITHOUT_BAR else _KINDS[kind], name in RESOURCE_FIELDS, name in _REQUIRED)
    for name, _, kind in _COLUMNS
)
_SPACE = b" \t\r\n"
_HEAD = re.compile(  # S stands for space
    rb'S\{S"producer"S:S"([^"\\\x00-\x1f]{1,512})"S,S"epoch"S:SCOUNTS,S"sequence"S:SCOUNTS,S"events"S:'.replace(
        b"COUNT", rb"(0|[1-9][0-9]{0,17})"
    ).replace(b"S", rb"[ \t\r\n]*")
)


def batch_from_own_form(body: bytes, now_s: float) -> Batch | None:
    """{"producer", "epoch", "sequence", "events"}, in this order, as the profiler writes it."""
    found = _HEAD.match(body) if _is_text(body) else None
    if found is None:
        return None
    key = (found[1].decode(), int(found[2]), int(found[3]))
    return _batch(body, found.end(), b"}", key, now_s)


def batch_from_array(body: bytes, key: tuple[str, int, int], now_s: float) -> Batch | None:
    """An array of events as a batch under ``key``."""
    return _batch(body, 0, b"", key, now_s) if _is_text(body) else None


def _is_text(body: bytes) -> bool:
    """Whether a body is UTF-8; the decoder copies the bytes of strings as they are."""
    if not IS_COMPILED:
        return False
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _batch(body: bytes, start: int, tail: bytes, key: tuple[str, int, int], now_s: float) -> Batch | None:
    found = decode(body, start, _TABLE, LONGEST_NAME, MICRO_OPERATION_TYPES)
    if found is None or body[found[1] :].strip(_SPACE) != tail:
        return None
    rows, _, columns = found
    seconds = np.frombuffer(columns[0], np.float64)  # type: ignore[arg-type]
    if rows and not (seconds.max() <= now_s + NEWEST_S and seconds.min() >= now_s - OLDEST_S):
        return None
    # The same rounding as features.schema: exact to the microsecond.
    columns[0] = (np.rint(seconds * 1e6).astype(np.int64) * 1_000).tobytes()
    producer, epoch, sequence = key
    arrays = [_array(kind, rows, column) for kind, column in zip(_ARROW_TYPES, columns, strict=True)]
    arrays += (_names(producer, rows), _numbers(epoch, rows), _numbers(sequence, rows))
    return Batch(*key, pa.RecordBatch.from_arrays(arrays, schema=ARROW_SCHEMA))


def _array(kind: pa.DataType, rows: int, column: Any) -> pa.Array:
    buffers = (None, *map(pa.py_buffer, column)) if type(column) is tuple else (None, pa.py_buffer(column))
    return pa.Array.from_buffers(kind, rows, buffers, 0)


def _names(producer: str, rows: int) -> pa.Array:
    text = producer.encode()
    offsets = np.arange(0, (rows + 1) * len(text), len(text), dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), rows, (None, pa.py_buffer(offsets), pa.py_buffer(text * rows)), 0)


def _numbers(value: int, rows: int) -> pa.Array:
    return pa.Array.from_buffers(pa.int64(), rows, (None, pa.py_buffer(value.to_bytes(8, sys.byteorder) * rows)), 0)


_ARROW_TYPES = tuple(ARROW_SCHEMA.field(name).type for _, name, _ in _COLUMNS)
