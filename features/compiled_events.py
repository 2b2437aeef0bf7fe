"""The quickest way from bodies to columns: compiled, where every event is plainly good; None for all others.

Where the extension was not built `IS_COMPILED` is false; then `features.typed_events` decodes JSON, and Arrow is
checked column by column. Batches come out of the extension by Arrow's C data interface, without a copy.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
from metercast.event import FIELDS, MICRO_OPERATION_TYPES, RESOURCE_FIELDS

from features.contracts import Batch
from features.schema import ARROW_SCHEMA, LONGEST_NAME, NAMES_WITHOUT_BAR, NEWEST_S, OLDEST_S

if TYPE_CHECKING:
    from features._columns import Exported, Table

try:
    from features._columns import check_rows, decode_json, make_rules, narrow
except ImportError:
    IS_COMPILED = False
else:
    IS_COMPILED = True

Key = tuple[str, int, int]

_BATCH_KEY = ("producer", "epoch", "sequence")
_REQUIRED = ("timestamp", "operationID", "microOperationType", "userID")
_KINDS = {"timestamp_ns": "t", "string": "s", "enum": "e", "count": "c", "amount": "a", "int64": "i"}
_COLUMNS = tuple(row for row in FIELDS if row[0] not in _BATCH_KEY)
_JSON_TABLE: Table = tuple(
    (name, "n" if name in NAMES_WITHOUT_BAR else _KINDS[kind], name in RESOURCE_FIELDS, name in _REQUIRED)
    for name, _, kind in _COLUMNS
)
_ARROW_TABLE: Table = tuple(
    (column, kind, False, required)
    for (_, column, _), (_, kind, _, required) in zip(_COLUMNS, _JSON_TABLE, strict=True)
)
if IS_COMPILED:
    _JSON_RULES, _ARROW_RULES = (
        make_rules(table, LONGEST_NAME, MICRO_OPERATION_TYPES) for table in (_JSON_TABLE, _ARROW_TABLE)
    )
_EVER_S = 9.2e9
"""Beyond all times that fit into 64 bits of nanoseconds."""
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


def batch_from_array(body: bytes, key: Key, now_s: float) -> Batch | None:
    """An array of events as a batch under ``key``."""
    return _batch(body, 0, b"", key, now_s) if _is_text(body) else None


def batch_from_rows(rows: pa.RecordBatch, key: Key, now_s: float, most_bytes: int) -> Batch | None:
    """Rows from a stranger under ``key``, in `ARROW_SCHEMA` and on the same buffers; raises ArrowInvalid.

    Texts of dictionaries, written out once a row, may take ``most_bytes`` in all.
    """
    if not IS_COMPILED:
        return None
    rows.validate()  # buffers are as long as they say; what they hold is looked at below
    schema, array = rows.__arrow_c_array__()
    found = check_rows(schema, array, _ARROW_RULES, _timed(key, now_s), most_bytes)
    return None if found is None else Batch(*key, _imported(found))


def narrow_rows(rows: pa.RecordBatch) -> pa.RecordBatch | None:
    """Rows of `ARROW_SCHEMA` as `features.stored_form` keeps them, or None where their arrays are not plain."""
    _, array = rows.__arrow_c_array__()
    found = narrow(array, _ARROW_RULES)
    if found is None:
        return None
    schema, (array, _) = found
    return pa.RecordBatch._import_from_c_capsule(schema, array)


def wide_rows(rows: pa.RecordBatch, key: Key) -> pa.RecordBatch | None:
    """What `narrow_rows` was given, or None where a value of it is out of the ordinary."""
    rows.validate()
    schema, array = rows.__arrow_c_array__()
    found = check_rows(schema, array, _ARROW_RULES, (*key, -_EVER_S, _EVER_S), 1 << 40)
    return None if found is None else _imported(found)


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


def _batch(body: bytes, start: int, tail: bytes, key: Key, now_s: float) -> Batch | None:
    found = decode_json(body, start, _JSON_RULES, _timed(key, now_s))
    if found is None or body[found[0] :].strip(_SPACE) != tail:
        return None
    return Batch(*key, _imported(found[1]))


def _timed(key: Key, now_s: float) -> tuple[str, int, int, float, float]:
    return *key, now_s - OLDEST_S, now_s + NEWEST_S


def _imported(exported: Exported) -> pa.RecordBatch:
    """A batch of the extension, which owns it no more."""
    _owner, address = exported
    return pa.RecordBatch._import_from_c(address, ARROW_SCHEMA)
