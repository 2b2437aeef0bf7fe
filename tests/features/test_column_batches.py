"""The profiler's columnar form: nothing is lost on the way to Arrow, and nothing odd gets in."""

from __future__ import annotations

import contextlib
import gzip
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metercast.event import MICRO_OPERATION_TYPES
from metercast.shipping.batch import encode
from metercast.shipping.columns import encode_columns

from features.column_batches import batch_from_columns
from features.schema import ARROW_SCHEMA
from tests.features.events import NOW_S

_NOW_NS = int(NOW_S * 1e9)
_LARGEST = 2**63 - 1
_texts = st.text(st.characters(codec="utf-8", exclude_characters="|"), max_size=8)
_names = _texts.filter(bool)
_counts = st.one_of(st.integers(0, 300), st.integers(0, _LARGEST), st.just(_LARGEST))
_amounts = st.floats(0, allow_nan=False, allow_infinity=False)
_ids = st.one_of(st.integers(-_LARGEST, _LARGEST), st.just(0))
_rows = st.tuples(
    st.integers(_NOW_NS - 10**12, _NOW_NS),
    *(_names, _names, st.integers(0, len(MICRO_OPERATION_TYPES) - 1), _texts),
    *(_counts, _counts, _counts, _counts, _amounts, _amounts, _ids, _ids, _texts),
)
ROW = (_NOW_NS, "ann", "op", 7, "", 10, 0, 0, 100, 1.5, 0.0, 5, 0, "thread-clock")


def decoded(body: bytes) -> tuple[Any, list[Any]]:
    return batch_from_columns(body, NOW_S, 100_000, 1 << 26)


def as_rows(batch: Any) -> list[tuple[Any, ...]]:
    """The rows of a batch in the order of the profiler's."""
    columns = {name: batch.rows[name].to_pylist() for name in ARROW_SCHEMA.names if name != "timestamp"}
    columns["timestamp"] = batch.rows["timestamp"].cast("int64").to_pylist()
    columns["code"] = [MICRO_OPERATION_TYPES.index(name) for name in columns["micro_operation_type"]]
    order = "timestamp user_id operation_id code meter cpu_cycles memory_bytes network_bytes disk_bytes "
    order += "execution_time_ms units execution_id parent_execution_id source"
    return list(zip(*(columns[name] for name in order.split()), strict=True))


@settings(max_examples=200)
@given(st.lists(_rows, max_size=20))
def test_nothing_is_lost_on_the_way_to_arrow(rows: list[tuple[Any, ...]]) -> None:
    """Every field of every row arrives as it was, to the nanosecond and the last bit."""
    batch, rejected = decoded(encode_columns("p", 3, 4, rows))
    assert rejected == []
    assert (batch.producer, batch.epoch, batch.sequence) == ("p", 3, 4)
    assert batch.rows.schema == ARROW_SCHEMA
    assert as_rows(batch) == rows


def test_columns_are_much_smaller_than_json() -> None:
    """A thousand ordinary rows take less than a seventh of the bytes of JSON, before compression."""
    rows = [
        (_NOW_NS + n * 997, f"u{n % 9}", "op", n % 9, "", n * 100, 0, n, 0, n / 7, 0.0, n, 0, "s") for n in range(1000)
    ]
    assert len(encode_columns("p", 1, 1, rows)) * 7 < len(gzip.decompress(encode("p", 1, 1, rows)))


def test_names_that_no_server_takes_are_made_ones_that_it_does() -> None:
    """Separators, lone surrogates, empty and endless names cost no row."""
    batch, rejected = decoded(
        encode_columns("p", 1, 1, [(ROW[0], "a|b", "\ud800" + "x" * 600, *ROW[3:]), (ROW[0], "", "", *ROW[3:])])
    )
    assert rejected == []
    assert batch.rows["user_id"].to_pylist() == ["a/b", "unknown"]
    assert batch.rows["operation_id"].to_pylist() == ["?" + "x" * 511, "unnamed"]


def test_bad_rows_are_told_apart() -> None:
    """Times too far off and amounts that are none are rejected row by row, the rest is taken."""
    late, negative = (_NOW_NS + 10**12, *ROW[1:]), (*ROW[:5], -1, *ROW[6:])
    endless = (*ROW[:9], float("inf"), *ROW[10:])
    batch, rejected = decoded(encode_columns("p", 1, 1, [ROW, late, ROW, negative, endless, (*ROW[:3], 99, *ROW[4:])]))
    assert batch.rows.num_rows == 2
    assert [(one.row, one.reason.split()[0]) for one in rejected] == [
        (1, "timestamp"),
        (3, "cpuCycles"),
        (4, "executionTimeMs"),
        (5, "microOperationType"),
    ]


def test_rows_that_share_a_long_name_are_refused_before_they_grow() -> None:
    """A small body does not become a large table."""
    rows = [(ROW[0], "u" * 500, *ROW[2:])] * 1000
    with pytest.raises(ValueError, match="smaller batches"):
        batch_from_columns(encode_columns("p", 1, 1, rows), NOW_S, 100_000, 100_000)
    with pytest.raises(ValueError, match="at most 999"):
        batch_from_columns(encode_columns("p", 1, 1, rows), NOW_S, 999, 1 << 26)


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 400),
)
def test_damaged_bodies_are_refused_or_read(changes: list[tuple[int, int]], cut: int) -> None:
    """Whatever bytes are turned or missing, the answer is a batch or a reason."""
    body = bytearray(
        encode_columns("p", 1, 1, [(ROW[0] + n, f"u{n % 3}", *ROW[2:5], n * 1000, *ROW[6:]) for n in range(50)])
    )
    for place, value in changes:
        body[place % len(body)] = value
    with contextlib.suppress(ValueError):
        batch, _ = decoded(bytes(body[: len(body) - cut]))
        batch.rows.validate(full=True)
        assert batch.rows.schema == ARROW_SCHEMA
