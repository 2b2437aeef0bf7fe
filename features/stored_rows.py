"""How a log keeps the rows of a batch: one zstd frame around an Arrow stream, with a checksum of what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from features.contracts import Batch
from features.schema import ARROW_SCHEMA

_BARE_STREAM = b"\xff\xff\xff\xff"  # how an Arrow stream begins: bodies of the first logs, packed column by column
# One frame a batch: a frame a column buffer, as Arrow's own compression makes, costs eight times the time.
_CODEC = pa.Codec("zstd", compression_level=1)


class CorruptBatchError(ValueError):
    """A stored batch no longer matches its checksum; the message names its offset."""


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch with its rows as kept and their checksum."""

    batch: Batch
    body: bytes
    digest: bytes


def prepared(batch: Batch) -> StoredBatch:
    """A batch ready to be kept."""
    return StoredBatch(batch, *encode(batch.rows))


def without_rows(stored: StoredBatch, left_out: Sequence[int]) -> StoredBatch:
    """The same batch without some of its rows."""
    gone = set(left_out)
    keep = pa.array([row not in gone for row in range(stored.batch.rows.num_rows)], pa.bool_())
    return prepared(replace(stored.batch, rows=stored.batch.rows.filter(keep)))


def encode(rows: pa.RecordBatch) -> tuple[bytes, bytes]:
    """The rows as kept, and the SHA-256 of what they say, whatever the compressor."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, ARROW_SCHEMA) as writer:
        writer.write_batch(rows)
    plain = sink.getvalue()
    return bytes(_CODEC.compress(plain)), hashlib.sha256(plain).digest()


def decode(body: bytes, digest: bytes, place: str) -> pa.RecordBatch:
    """The rows again; raises CorruptBatchError, naming ``place``, unless they match the checksum.

    A batch whose body moved to the archive raises it too: a reader that far behind needs the database of a backup.
    """
    if not body:
        raise CorruptBatchError(f"{place} was archived, and who reads the log is behind that; restore a backup")
    try:
        if body.startswith(_BARE_STREAM):
            plain = pa.py_buffer(body)
        else:
            plain = pa.CompressedInputStream(pa.BufferReader(body), "zstd").read_buffer()
    except (pa.ArrowException, OSError) as error:
        raise CorruptBatchError(f"{place} cannot be unpacked: {error}; restore it from a backup") from error
    if hashlib.sha256(plain).digest() != digest:
        raise CorruptBatchError(f"{place} does not match its checksum; restore it from a backup")
    return pa.ipc.open_stream(plain).read_next_batch()
