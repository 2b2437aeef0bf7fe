"""Arrow bodies from strangers: taken in every plain form, refused before they grow, never an error of the server's."""

from __future__ import annotations

import contextlib

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.schema import ARROW_SCHEMA
from serving.ingest import arrow_bodies
from serving.ingest.arrow_size import unpacked_bytes
from serving.ingest.bodies import ARROW_MEDIA_TYPE, BodyError, Limits, parse
from tests.features.events import NOW_S, batch, event

ROWS = batch([event(-1.0, cpuCycles=row, user=f"user{row % 3}") for row in range(50)]).rows


def _stream(table: pa.Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _encoded(column: str, values: pa.Array) -> pa.Table:
    table = pa.Table.from_batches([ROWS])
    return table.set_column(table.schema.get_field_index(column), column, values)


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize("encode", [False, True])
def test_every_plain_form_is_taken(compression: str | None, encode: bool) -> None:
    """Packed or not, dictionary-encoded or not: the same rows."""
    table = _encoded("user_id", ROWS["user_id"].dictionary_encode() if encode else ROWS["user_id"])
    found, rejected = parse(_stream(table, compression), ARROW_MEDIA_TYPE, Limits(), NOW_S)
    assert rejected == []
    assert found.rows.equals(ROWS)


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_small_body_of_packed_zeros_is_refused_unread(compression: str) -> None:
    """What a body claims to become is known, and too much, before it is unpacked."""
    bomb = pa.table({"timestamp": pa.array([0] * 3_000_000)})
    body = _stream(bomb, compression)
    assert len(body) < bomb.nbytes / 100
    assert unpacked_bytes(body) >= bomb.nbytes
    with pytest.raises(BodyError, match="unpacks to") as refused:
        parse(body, ARROW_MEDIA_TYPE, Limits(unpacked_bytes=20_000_000), NOW_S)
    assert refused.value.status == 413


def test_rows_that_share_one_long_value_are_refused() -> None:
    """A dictionary with one huge string does not become huge once for every row."""
    table = _encoded("source", pa.DictionaryArray.from_arrays([0] * 50, ["x" * 1_000_000]))
    with pytest.raises(BodyError, match="1000000 characters"):
        parse(_stream(table), ARROW_MEDIA_TYPE, Limits(), NOW_S)


def test_run_length_columns_are_refused() -> None:
    """A form in which one value stands for many rows is named and refused."""
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([50], pa.int32()), pa.array(["x"]))
    with pytest.raises(BodyError, match="source is of type"):
        parse(_stream(_encoded("source", runs)), ARROW_MEDIA_TYPE, Limits(), NOW_S)


@settings(max_examples=200)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 400),
    compression=st.sampled_from([None, "zstd"]),
)
def test_damaged_bodies_are_refused_or_read(changes: list[tuple[int, int]], cut: int, compression: str | None) -> None:
    """Whatever bytes are turned or missing, the answer is a batch or a reason."""
    body = bytearray(_stream(pa.Table.from_batches([ROWS]), compression))
    for place, value in changes:
        body[place % len(body)] = value
    with contextlib.suppress(BodyError):
        found, _ = parse(bytes(body[: len(body) - cut]), ARROW_MEDIA_TYPE, Limits(), NOW_S)
        found.rows.validate(full=True)
        assert found.rows.schema == ARROW_SCHEMA


_texts = st.one_of(
    st.text(max_size=6), st.sampled_from(["a|b", "", "x\0", "é" * 400, "x" * 512, "x" * 513, "CPU_INSTRUCTION", "WAIT"])
)
_whole = st.one_of(st.integers(0, 100), st.integers(-(2**63), 2**63 - 1))
_stamps = st.integers(int((NOW_S - 36 * 86_400) * 1e9), int((NOW_S + 400) * 1e9))
_columns = {
    "timestamp": (_stamps, pa.timestamp("ns", "UTC")),
    "operation_id": (_texts, pa.string()),
    "micro_operation_type": (st.one_of(st.just("WAIT"), _texts), pa.string()),
    "user_id": (_texts, pa.string()),
    "cpu_cycles": (_whole, pa.int64()),
    "execution_time_ms": (st.floats(), pa.float64()),
    "execution_id": (_whole, pa.int64()),
    "meter": (_texts, pa.string()),
}


@st.composite
def _tables(draw: st.DrawFn) -> pa.Table:
    """A few rows of mostly good values, some columns left out, dictionary-encoded or with nulls."""
    rows, arrays = draw(st.integers(1, 4)), {}
    for name, (values, kind) in _columns.items():
        if name in ("cpu_cycles", "execution_time_ms", "meter") and draw(st.booleans()):
            continue
        good = ROWS[name].slice(0, rows)
        given = good.to_pylist() if draw(st.integers(0, 3)) else None
        if given is None:
            some = st.one_of(values, st.none()) if draw(st.booleans()) else values
            given = draw(st.lists(some, min_size=rows, max_size=rows))
        array = pa.array(given, kind)
        arrays[name] = array.dictionary_encode() if kind == pa.string() and draw(st.booleans()) else array
    return pa.table(arrays).replace_schema_metadata({"producer": "p", "epoch": "1", "sequence": "2"})


@settings(max_examples=300)
@given(table=_tables())
def test_compiled_and_careful_checks_agree(table: pa.Table) -> None:
    """The compiled check takes a body only where the careful one finds no fault, and gives the same rows."""
    body = _stream(table)
    quick = arrow_bodies._quick(body, Limits(), NOW_S)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrow_bodies, "IS_COMPILED", False)
        try:
            careful, rejected = parse(body, ARROW_MEDIA_TYPE, Limits(), NOW_S)
        except BodyError:
            assert quick is None
            return
    if quick is not None:
        assert rejected == []
        quick.rows.validate(full=True)
        assert quick.rows.equals(careful.rows)
        assert (quick.producer, quick.epoch, quick.sequence) == ("p", 1, 2)


@pytest.mark.skipif(not arrow_bodies.IS_COMPILED, reason="the extension features._columns was not built")
@pytest.mark.parametrize("encode", [False, True])
def test_plain_rows_go_the_quick_way(encode: bool) -> None:
    """Good rows with names outside of ASCII, plain and dictionary-encoded, are not left to the slow way."""
    table = _encoded("user_id", pa.array(["Zoë", "李", "a"] * 16 + ["b"] * 2))
    if encode:
        table = table.set_column(
            table.schema.get_field_index("user_id"), "user_id", table["user_id"].dictionary_encode()
        )
    found = arrow_bodies._quick(_stream(table), Limits(), NOW_S)
    assert found is not None
    assert found.rows["user_id"].to_pylist() == ["Zoë", "李", "a"] * 16 + ["b"] * 2
