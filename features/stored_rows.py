"""How a log keeps the rows of a batch: one zstd frame around an Arrow stream, with a checksum of what it says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from features.contracts import Batch
from features.database import Connection
from features.stored_form import narrowed, widened

_BARE_STREAM = b"\xff\xff\xff\xff"  # how an Arrow stream begins: bodies of the first logs, packed column by column
# One frame a batch: a frame a column buffer, as Arrow's own compression makes, costs eight times the time.
_CODEC = pa.Codec("zstd", compression_level=1)


_PAGE = 256
_NARROWED_ROWS = 512
"""Smaller batches are kept as they are: a schema of their own would cost more than it saves."""
_LARGEST_AT_ONCE = 1 << 28
"""A damaged header must not make us ask for all memory; what is larger is unpacked piece by piece."""


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
    plain = _stream(narrowed(rows) if rows.num_rows >= _NARROWED_ROWS else rows)
    return _CODEC.compress(plain, asbytes=True), hashlib.sha256(plain).digest()


def is_same(stored: StoredBatch, digest: bytes) -> bool:
    """Whether a kept digest is that of this batch, also where it was kept before large batches were narrowed."""
    return digest == stored.digest or digest == hashlib.sha256(_stream(stored.batch.rows)).digest()


def _stream(rows: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_batch(rows)
    return sink.getvalue()


def decode(body: bytes, digest: bytes, place: str) -> pa.RecordBatch:
    """The rows again; raises CorruptBatchError, naming ``place``, unless they match the checksum.

    A batch whose body moved to the archive raises it too: a reader that far behind needs the database of a backup.
    """
    if not body:
        raise CorruptBatchError(f"{place} was archived, and who reads the log is behind that; restore a backup")
    try:
        plain = _unpacked(body)
    except (pa.ArrowException, OSError) as error:
        raise CorruptBatchError(f"{place} cannot be unpacked: {error}; restore it from a backup") from error
    if hashlib.sha256(plain).digest() != digest:
        raise CorruptBatchError(f"{place} does not match its checksum; restore it from a backup")
    return widened(pa.ipc.open_stream(plain).read_next_batch())


def _unpacked(body: bytes) -> pa.Buffer:
    """In one go where the frame tells its size, which costs half of unpacking it piece by piece."""
    if body.startswith(_BARE_STREAM):
        return pa.py_buffer(body)
    size_bytes = _frame_size(body)
    if 0 < size_bytes <= _LARGEST_AT_ONCE:
        return _CODEC.decompress(body, size_bytes)
    return pa.CompressedInputStream(pa.BufferReader(body), "zstd").read_buffer()


def _frame_size(body: bytes) -> int:
    """How many bytes a zstd frame holds, 0 where it does not tell (RFC 8878, section 3.1.1.1)."""
    if len(body) < 18 or body[:4] != b"\x28\xb5\x2f\xfd":
        return 0
    descriptor = body[4]
    is_single_segment = bool(descriptor & 0x20)
    width = (1 if is_single_segment else 0, 2, 4, 8)[descriptor >> 6]
    start = 5 + (not is_single_segment) + (0, 1, 2, 4)[descriptor & 3]
    return int.from_bytes(body[start : start + width], "little") + (256 if width == 2 else 0)


@dataclass(frozen=True, slots=True)
class LogRow:
    """A row of the log as it is kept; ``body`` is not checked before `rows` is called."""

    offset: int
    producer: str
    received_ns: int
    events: int
    digest: bytes
    body: bytes

    @property
    def place(self) -> str:
        """What to call it in an error."""
        return f"batch at offset {self.offset} of producer {self.producer!r}"

    def rows(self) -> pa.RecordBatch:
        """The events; raises CorruptBatchError."""
        return decode(self.body, self.digest, self.place)


def walk(connection: Connection, after: int = 0, until: int = 2**63 - 1) -> Iterator[LogRow]:
    """Batches of a log whose offsets are in (after, until] and whose rows are still in it, a page at a time."""
    query = (
        "SELECT log_offset, producer, received_ns, events, digest, body FROM log "
        "WHERE log_offset > ? AND log_offset <= ? AND length(body) > 0 ORDER BY log_offset LIMIT ?"
    )
    while page := connection.execute(query, (after, until, _PAGE)).fetchall():
        for row in page:
            yield LogRow(*row)
        after = page[-1][0]
