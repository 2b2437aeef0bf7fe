"""Which rows of an Arrow table pass the checks of JSON rows; whole columns are found good at once where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from metercast.event import FIELDS, MICRO_OPERATION_TYPES
from numpy.typing import NDArray

from features.schema import FOR_OLDER, LONGEST_NAME, NEWEST_S, OLDEST_S

_REQUIRED = ("user_id", "operation_id")
_WITHOUT_BAR = ("user_id", "operation_id", "meter")
_KINDS = {name: kind for _, name, kind in FIELDS if name not in ("producer", "epoch", "sequence")}
_TYPES = pa.array(MICRO_OPERATION_TYPES)
_LARGEST = np.finfo(np.float64).max


def faults(table: pa.Table, now_s: float, oldest_s: float = OLDEST_S) -> dict[int, str]:
    """Reasons by row, for the rows that cannot be taken; ``now_s`` is the receiver's clock."""
    span = (now_s - oldest_s, now_s + NEWEST_S)
    found: dict[int, str] = {}
    for name in table.column_names:
        if name not in _KINDS:
            continue
        column = table[name]
        if column.null_count:
            _note(found, _mask(pc.is_null(column)), f"{name} is missing")
        for mask, reason in _CHECKS[_KINDS[name]](name, column, span):
            _note(found, mask, reason)
    return found


def _note(found: dict[int, str], mask: NDArray[np.bool_], reason: str) -> None:
    for row in np.flatnonzero(mask).tolist():
        found.setdefault(row, reason)


def _mask(column: pa.ChunkedArray | pa.Array) -> NDArray[np.bool_]:
    """A boolean column as an array; null is false."""
    return np.asarray(pc.fill_null(column, False))


_Span = tuple[float, float]
"""The oldest and the newest time that an event may have, in Unix seconds."""

Faults = Iterator[tuple[NDArray[np.bool_], str]]


def _timestamp(name: str, column: pa.ChunkedArray, span: _Span) -> Faults:
    plain = column.cast(pa.timestamp("ns")) if pa.types.is_timestamp(column.type) else column
    stamps = _numbers(plain.cast(pa.int64()))
    oldest_ns, newest_ns = (int(edge * 1e9) for edge in span)
    if not len(stamps) or (stamps.max() <= newest_ns and stamps.min() >= oldest_ns):
        return
    valid, late, early = _valid(column), stamps > newest_ns, stamps < oldest_ns
    if late.any():
        yield late & valid, f"{name} is more than {NEWEST_S} s ahead of this clock"
    if early.any():
        yield early & valid, f"{name} is older than {OLDEST_S // 86_400} days; {FOR_OLDER}"


def _count(name: str, column: pa.ChunkedArray, _span: _Span) -> Faults:
    low = _numbers(column.cast(pa.int64())) < 0
    if low.any():
        yield low & _valid(column), f"{name} must be an integer from 0 to 2^63-1"


def _amount(name: str, column: pa.ChunkedArray, _span: _Span) -> Faults:
    values = _numbers(column.cast(pa.float64()))
    good = (values >= 0) & (values <= _LARGEST)  # NaN is neither
    if not good.all():
        yield ~good & _valid(column), f"{name} must be a finite number >= 0"


def _integer(name: str, column: pa.ChunkedArray, _span: _Span) -> Faults:
    lowest = _numbers(column.cast(pa.int64())) == np.iinfo(np.int64).min
    if lowest.any():
        yield lowest, f"{name} must be a 64-bit integer above -2^63"


def _string(name: str, column: pa.ChunkedArray, _span: _Span) -> Faults:
    if pa.types.is_dictionary(column.type):
        yield from _string_of_dictionary(name, column)
        return
    if _plainly_good(name, column):
        return
    length = pc.utf8_length(column)
    short = 1 if name in _REQUIRED else 0
    wrong = pc.or_(pc.less(length, short), pc.greater(length, LONGEST_NAME))
    yield _mask(wrong), f"{name} must be a string of {short} to {LONGEST_NAME} characters"
    if name in _WITHOUT_BAR:
        yield _mask(pc.match_substring(column, "|")), f"{name} must not contain '|'"
    yield _mask(pc.match_substring(column, "\0")), f"{name} must not contain the character NUL"


def _string_of_dictionary(name: str, column: pa.ChunkedArray) -> Faults:
    """Only the values of a dictionary are looked at, and the rows that point at a bad one."""
    start = 0
    for chunk in column.chunks:
        for mask, reason in _string(name, pa.chunked_array([chunk.dictionary]), (0.0, 0.0)):
            bad = _mask(pc.is_in(chunk.indices, pa.array(np.flatnonzero(mask), chunk.indices.type)))
            whole = np.zeros(len(column), np.bool_)
            whole[start : start + len(chunk)] = bad
            yield whole, reason
        start += len(chunk)


def _plainly_good(name: str, column: pa.ChunkedArray) -> bool:
    """Whether no value is empty, long or contains a bar or NUL, told by offsets and one look through the bytes."""
    for chunk in column.chunks:
        if not len(chunk):
            continue
        width = np.int64 if pa.types.is_large_string(chunk.type) else np.int32
        offsets = np.frombuffer(chunk.buffers()[1], width)[chunk.offset : chunk.offset + len(chunk) + 1]
        sizes = np.diff(offsets)
        if sizes.max() > LONGEST_NAME or (name in _REQUIRED and sizes.min() < 1):
            return False
        data = chunk.buffers()[2]
        text = bytes(memoryview(data)[offsets[0] : offsets[-1]]) if data is not None else b""
        if b"\0" in text or (name in _WITHOUT_BAR and b"|" in text):
            return False
    return True


def _enum(name: str, column: pa.ChunkedArray, _span: _Span) -> Faults:
    if pa.types.is_dictionary(column.type):
        known = all(pc.all(pc.is_in(chunk.dictionary, _TYPES)).as_py() is not False for chunk in column.chunks)
        if known:
            return
        column = column.cast(pa.string())
    unknown = _mask(pc.invert(pc.is_in(column, _TYPES)))
    if unknown.any():
        yield unknown & _valid(column), f"{name} is unknown; one of {', '.join(MICRO_OPERATION_TYPES)}"


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """Values without a copy where that can be; 0 where null."""
    if column.null_count:
        column = pc.fill_null(column, 0)
    values: NDArray[Any] = (
        column.to_numpy() if column.num_chunks != 1 else column.chunk(0).to_numpy(zero_copy_only=False)
    )
    return values


def _valid(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(pc.is_valid(column))


_CHECKS: dict[str, Callable[[str, pa.ChunkedArray, _Span], Faults]] = {
    "timestamp_ns": _timestamp,
    "string": _string,
    "enum": _enum,
    "count": _count,
    "amount": _amount,
    "int64": _integer,
}
