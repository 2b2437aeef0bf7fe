"""Rows of the compiled engine read as tuples, and its forms of batches are those of Python, to the byte."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metercast.event import MICRO_OPERATION_TYPES
from metercast.shipping import batch, columns
from metercast.shipping.batch import Converter

from .conftest import _engine_or_skip

NAMES = st.text(max_size=12) | st.sampled_from(["ann", "GET /orders/{id}", "", 'a"\\\n'])
COUNTS = st.integers(0, 300) | st.integers(0, 2**62)
AMOUNTS = st.sampled_from([0.0, 1.0, 2.5]) | st.floats(0, 1e300, allow_nan=False)
ROWS = st.lists(
    st.tuples(
        st.integers(10**18, 2 * 10**18),
        NAMES,
        NAMES,
        st.integers(0, len(MICRO_OPERATION_TYPES) - 1),
        NAMES,
        *[COUNTS] * 4,
        AMOUNTS,
        AMOUNTS,
        *[COUNTS] * 2,
        st.sampled_from(["thread-clock", "thread-clock aggregate of 7"]),
    ),
    max_size=20,
)


@pytest.fixture
def compiled():
    """The compiled engine's module."""
    _engine_or_skip("compiled")
    from metercast import _engine

    return _engine


@given(rows=ROWS)
def test_columns_are_the_same_from_both(rows):
    """Names, types, bases and bytes, whatever the rows hold."""
    engine = pytest.importorskip("metercast._engine")
    names, kinds, data = engine.pack_columns(rows)
    expected_names, expected_kinds, expected_data = columns.pack(rows)
    assert [list(texts) for texts in names] == [list(texts) for texts in expected_names]
    assert (kinds, data) == (expected_kinds, expected_data)


@given(rows=ROWS)
def test_json_is_the_same_from_both(rows):
    """The text of the events, to the last digit."""
    engine = pytest.importorskip("metercast._engine")
    assert engine.json_events(rows, batch._names, batch._quoted) == batch.json_events(rows)


def records(engine, sizes):
    """Rows that an engine gives for calls of so many bytes each in a run of its own, and the tuples they stand for."""
    for size in sizes:
        execution = engine.enter("op", "ann")
        engine.count(execution, "things", size / 7)
        engine.after_call(6, time.perf_counter_ns(), disk=size)
        engine.leave(execution)
    rows = Converter().take(engine, 1 << 20)[1]
    return rows, [tuple(row) for row in rows]


def test_rows_of_the_engine_read_as_tuples_and_pack_as_they_do(compiled):
    """Fields, slices, comparison and both forms; durations of any length in ns come out as Python writes them."""
    engine = compiled.Engine()
    engine.is_on = True
    rows, tuples = records(engine, [1, 10, 10**12, 7])
    engine.is_on = False
    assert len(rows) > 8
    assert rows == tuples
    assert [row[1:5] for row in rows] == [one[1:5] for one in tuples]
    assert rows[0][-1] == "thread-clock"
    assert (len(rows[0]), rows[0] != tuples[0], repr(rows[0])) == (14, False, repr(tuples[0]))
    with pytest.raises(IndexError):
        rows[0][14]
    assert compiled.pack_columns(rows) == compiled.pack_columns(tuples)
    text = compiled.json_events(rows, batch._names, batch._quoted)
    assert text == batch.json_events(tuples)
    assert all(math.isfinite(row[9]) for row in rows)


@pytest.mark.parametrize("row", [(1, 2), (1, b"ann", *[0] * 12), ("now", "a", "b", 1, "", *[0] * 8, "s"), None])
def test_what_is_no_row_is_refused(compiled, row):
    """An error instead of a batch that nobody can read."""
    for pack in (compiled.pack_columns, lambda rows: compiled.json_events(rows, batch._names, batch._quoted)):
        with pytest.raises(TypeError):
            pack([row])
