"""Stored batches come back as they were, and a damaged one is told, whatever byte of it is wrong."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from features import stored_form
from features.contracts import Outcome
from features.schema import ARROW_SCHEMA
from features.sqlite_log import SqliteEventLog
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
    digest = hashlib.sha256(plain.getvalue()).digest()
    assert decode(sink.getvalue().to_pybytes(), digest, "here").equals(rows)


def test_every_wrong_byte_of_the_beginning_is_found() -> None:
    """A damaged header neither takes all memory nor ends the engine with an error of its own."""
    rows = batch([event(-1.0, cpuCycles=place) for place in range(50)]).rows
    body, digest = encode(rows)
    for place in range(24):
        for flipped in (1, 0x80, 0xFF):
            damaged = body[:place] + bytes([body[place] ^ flipped]) + body[place + 1 :]
            with contextlib.suppress(CorruptBatchError):
                assert decode(damaged, digest, "here").equals(rows)


def test_large_batches_take_few_bytes_and_are_the_same_compiled_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers of every width, times, texts that repeat or do not: one stream from both ways, and the rows again."""
    changes = [
        {
            "user": f"user{row % 300}",
            "operation": f"operation {row}",
            "cpuCycles": row << (row % 40),
            "diskBytes": row % 7,
            "executionID": -row,
            "executionTimeMs": row / 8,
            "meter": "é" * (row % 3),
        }
        for row in range(1, 2_000)
    ]
    rows = batch([event(-1.0, **one) for one in changes]).rows
    body, digest = encode(rows)
    assert decode(body, digest, "here").equals(rows)
    assert len(body) < 0.2 * rows.nbytes
    monkeypatch.setattr(stored_form, "IS_COMPILED", False)
    assert encode(rows) == (body, digest)
    assert decode(body, digest, "here").equals(rows)


def test_a_batch_kept_before_large_ones_were_narrowed_is_known_again(tmp_path: Path) -> None:
    """A log written by an earlier version: its batches are read, and one that is sent again counts once."""
    sent = batch([event(-1.0, cpuCycles=place) for place in range(1_000)])
    plain = pa.BufferOutputStream()
    with pa.ipc.new_stream(plain, ARROW_SCHEMA) as writer:
        writer.write_batch(sent.rows)
    body, digest = pa.compress(plain.getvalue(), "zstd", asbytes=True), hashlib.sha256(plain.getvalue()).digest()
    log = SqliteEventLog(tmp_path / "log.db")
    assert log.append([sent])[0].outcome is Outcome.ACCEPTED
    log._connection.execute("UPDATE log SET body = ?, digest = ?", (body, digest))
    assert log.read(0, 1)[0].batch.rows.equals(sent.rows)
    assert log.append([sent])[0].outcome is Outcome.DUPLICATE
    other = replace(sent, rows=sent.rows.slice(1))
    assert log.append([other])[0].outcome is Outcome.CONFLICT
    log.close()
