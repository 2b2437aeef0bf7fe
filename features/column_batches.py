"""The profiler's columnar batches as Arrow: laid out as `metercast.shipping.columns` says, each row checked."""

from __future__ import annotations

import struct
from typing import Annotated, Any

import msgspec
import numpy as np
import pyarrow as pa
from metercast.event import COLUMNS, COLUMNS_MAGIC, MICRO_OPERATION_TYPES, NAME_FIELDS
from numpy.typing import NDArray

from features.contracts import Batch
from features.schema import ARROW_SCHEMA, FOR_OLDER, LONGEST_NAME, NEWEST_S, OLDEST_S, Rejection

_NUMBER_TYPES = {"B": "<u1", "H": "<u2", "I": "<u4", "Q": "<u8", "d": "<f8"}
_FLOAT_COLUMNS = frozenset({"executionTimeMs", "units"})
_LEAST, _LARGEST = -(2**63), 2**63 - 1
_ARROW_NAMES = {
    "timestamp": "timestamp",
    "cpuCycles": "cpu_cycles",
    "memoryBytes": "memory_bytes",
    "networkBytes": "network_bytes",
    "diskBytes": "disk_bytes",
    "executionTimeMs": "execution_time_ms",
    "units": "units",
    "executionID": "execution_id",
    "parentExecutionID": "parent_execution_id",
    "userID": "user_id",
    "operationID": "operation_id",
    "microOperationType": "micro_operation_type",
    "meter": "meter",
    "source": "source",
}

_Count = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]


class TooLargeError(ValueError):
    """The batch has more rows or text than the receiver takes."""


class _Header(msgspec.Struct, frozen=True):
    producer: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]
    epoch: _Count
    sequence: _Count
    rows: _Count
    names: dict[str, list[str]]
    columns: list[tuple[str, int | float]]


_HEADER = msgspec.json.Decoder(_Header)


def batch_from_columns(
    body: bytes, now_s: float, rows_limit: int, text_limit_bytes: int
) -> tuple[Batch, list[Rejection]]:
    """A batch in `ARROW_SCHEMA` and the rows rejected; ``now_s`` is the receiver's clock.

    Raises ValueError when the body is damaged, TooLargeError when it has more than ``rows_limit`` rows or its names,
    written out once a row, take more than ``text_limit_bytes``.
    """
    header, place = _read_header(body, rows_limit)
    columns = {}
    for name, (kind, base) in zip(COLUMNS, header.columns, strict=True):
        columns[name], place = _column(body, place, name, kind, base, header.rows)
    if place != len(body):
        raise ValueError(f"{len(body) - place} bytes follow the last column; send the batch as it was made")
    _check_names(header, columns, text_limit_bytes)
    problems = _problems(header, columns, now_s)
    rejected = [Rejection(row, problems[row]) for row in sorted(problems)]
    rows = _arrow(header, columns)
    if rejected:
        kept = np.ones(header.rows, dtype=bool)
        kept[list(problems)] = False
        rows = rows.filter(pa.array(kept))
    return Batch(header.producer, header.epoch, header.sequence, rows), rejected


def _read_header(body: bytes, rows_limit: int) -> tuple[_Header, int]:
    """The header, and where the columns begin."""
    start = len(COLUMNS_MAGIC) + 4
    if len(body) < start or not body.startswith(COLUMNS_MAGIC):
        raise ValueError(f"a columnar batch begins with {COLUMNS_MAGIC!r} and its header's length")
    end = start + struct.unpack_from("<I", body, len(COLUMNS_MAGIC))[0]
    try:
        header = _HEADER.decode(body[start:end])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"the header is not as it should be: {error}") from error
    if header.rows > rows_limit:
        raise TooLargeError(f"{header.rows} rows in one body, at most {rows_limit}; send smaller batches")
    if len(header.columns) != len(COLUMNS):
        raise ValueError(f"{len(header.columns)} columns, not {len(COLUMNS)}: {', '.join(COLUMNS)}")
    return header, end


def _column(body: bytes, place: int, name: str, kind: str, base: int | float, rows: int) -> tuple[NDArray[Any], int]:
    """The values of a column, and where the next begins."""
    is_float = name in _FLOAT_COLUMNS
    if not is_float and (not isinstance(base, int) or not _LEAST <= base <= _LARGEST):
        raise ValueError(f"{name}: the base {base!r} is no 64-bit integer")
    if kind == "c":
        return np.full(rows, base, dtype=np.float64 if is_float else np.int64), place
    if kind not in _NUMBER_TYPES or is_float != (kind == "d"):
        allowed = "c or d" if is_float else "c, B, H, I or Q"
        raise ValueError(f"{name}: columns of type {kind!r:.20} are unknown here; {allowed} is allowed")
    dtype = np.dtype(_NUMBER_TYPES[kind])
    end = place + dtype.itemsize * rows
    if end > len(body):
        raise ValueError(f"{name}: the body ends {end - len(body)} bytes too early")
    stored = np.frombuffer(body, dtype, rows, place)
    if is_float:
        return stored.astype(np.float64), end
    if rows and int(base) + int(stored.max()) > _LARGEST:
        raise ValueError(f"{name}: a value is above 2^63-1")
    return (stored.astype(np.int64) + np.int64(base)) if kind != "Q" else _wide(stored, int(base)), end


def _wide(stored: NDArray[Any], base: int) -> NDArray[Any]:
    """base + stored where stored alone may be above 2^63-1; two's complement makes the sum right all the same."""
    return (stored + np.uint64(base % 2**64)).astype(np.int64)


def _check_names(header: _Header, columns: dict[str, NDArray[Any]], limit_bytes: int) -> None:
    """Every row's names are there, and do not become too much text when each row has its own."""
    if set(header.names) != set(NAME_FIELDS):
        raise ValueError(f"names of {sorted(header.names)}, not of {', '.join(NAME_FIELDS)}")
    size = 0
    for field in NAME_FIELDS:
        texts, numbers = header.names[field], columns[field]
        if header.rows and not (numbers.min() >= 0 and numbers.max() < len(texts)):
            raise ValueError(f"{field}: a row has name {numbers.max()}, but the header has {len(texts)}")
        sizes = np.array([len(text.encode(errors="replace")) for text in texts] or [0])
        size += int(sizes[numbers].sum()) if header.rows else 0
    if size > limit_bytes:
        raise TooLargeError(f"names of {size} bytes in one body, at most {limit_bytes}; send smaller batches")


def _problems(header: _Header, columns: dict[str, NDArray[Any]], now_s: float) -> dict[int, str]:
    """{row: why it is not taken}; the same rules as those of `features.schema`."""
    found: dict[int, str] = {}

    def note(bad: NDArray[np.bool_], reason: str) -> None:
        if bad.any():
            for row in np.flatnonzero(bad).tolist():
                found.setdefault(row, reason)

    for field in NAME_FIELDS:
        for number, text in enumerate(header.names[field]):
            reason = _name_problem(field, text)
            if reason:
                note(columns[field] == number, reason)
    codes, stamp_ns = columns["microOperationType"], columns["timestamp"]
    last_code = len(MICRO_OPERATION_TYPES) - 1
    note((codes < 0) | (codes > last_code), f"microOperationType is unknown; codes are 0 to {last_code}")
    note(stamp_ns > int((now_s + NEWEST_S) * 1e9), f"timestamp is more than {NEWEST_S} s ahead of this clock")
    note(stamp_ns < int((now_s - OLDEST_S) * 1e9), f"timestamp is older than {OLDEST_S // 86_400} days; {FOR_OLDER}")
    for name in ("cpuCycles", "memoryBytes", "networkBytes", "diskBytes"):
        note(columns[name] < 0, f"{name} must be an integer from 0 to 2^63-1")
    for name in _FLOAT_COLUMNS:
        note(~(np.isfinite(columns[name]) & (columns[name] >= 0)), f"{name} must be a finite number >= 0")
    return found


def _name_problem(field: str, text: str) -> str:
    if len(text) > LONGEST_NAME or (not text and field in ("userID", "operationID")):
        return f"{field} must be a string of 1 to {LONGEST_NAME} characters, not {text!r:.60}"
    if "|" in text and field != "source":
        return f"{field} must not contain '|': {text!r:.60}"
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        return f"{field} is no valid Unicode: {text!r:.60}"
    return ""


_TYPES = pa.array([*MICRO_OPERATION_TYPES, ""], pa.string())  # the last one stands for unknown codes, filtered later


def _arrow(header: _Header, columns: dict[str, NDArray[Any]]) -> pa.RecordBatch:
    arrays: dict[str, pa.Array] = {}
    for name, values in columns.items():
        if name in NAME_FIELDS:  # rows with names at fault are filtered afterwards
            texts = [text.encode(errors="replace").decode() for text in header.names[name]]
            arrays[_ARROW_NAMES[name]] = pa.array(texts, pa.string()).take(pa.array(values))
        elif name == "microOperationType":
            codes = np.where((values < 0) | (values >= len(MICRO_OPERATION_TYPES)), len(MICRO_OPERATION_TYPES), values)
            arrays[_ARROW_NAMES[name]] = _TYPES.take(pa.array(codes))
        else:
            arrays[_ARROW_NAMES[name]] = pa.array(values)
    arrays["timestamp"] = arrays["timestamp"].cast(ARROW_SCHEMA.field("timestamp").type)
    for name in ("producer", "epoch", "sequence"):
        arrays[name] = pa.repeat(pa.scalar(getattr(header, name), ARROW_SCHEMA.field(name).type), header.rows)
    return pa.RecordBatch.from_arrays([arrays[field.name] for field in ARROW_SCHEMA], schema=ARROW_SCHEMA)
