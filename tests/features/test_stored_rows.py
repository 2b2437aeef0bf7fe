"""Stored batches come back as they were, and a damaged one is told, whatever byte of it is wrong."""

from __future__ import annotations

import contextlib

import pyarrow as pa
import pytest

from features.schema import ARROW_SCHEMA
from features.stored_rows import CorruptBatchError, decode, encode
from tests.features.events import batch, event


@pytest.mark.parametrize("count", [0, 1, 2, 40, 3_000])
def test_batches_of_any_size_come_back(count: int) -> None:
    """Small frames tell their size in one byte, larger ones in more; none is cut."""
    rows = batch([event(-1.0, cpuCycles=place) for place in range(count)]).rows
    assert decode(*encode(rows), "here").equals(rows)


def test_frames_that_do_not_tell_their_size_are_read() -> None:
    """A frame that was written piece by piece is unpacked piece by piece."""
    rows = batch([event(-1.0, cpuCycles=place) for place in range(300)]).rows
    plain, sink = pa.BufferOutputStream(), pa.BufferOutputStream()
    with pa.ipc.new_stream(plain, ARROW_SCHEMA) as writer:
        writer.write_batch(rows)
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(plain.getvalue())
    assert decode(sink.getvalue().to_pybytes(), encode(rows)[1], "here").equals(rows)


def test_every_wrong_byte_of_the_beginning_is_found() -> None:
    """A damaged header neither takes all memory nor ends the engine with an error of its own."""
    rows = batch([event(-1.0, cpuCycles=place) for place in range(50)]).rows
    body, digest = encode(rows)
    for place in range(24):
        for flipped in (1, 0x80, 0xFF):
            damaged = body[:place] + bytes([body[place] ^ flipped]) + body[place + 1 :]
            with contextlib.suppress(CorruptBatchError):
                assert decode(damaged, digest, "here").equals(rows)
