"""How large an Arrow stream becomes when unpacked, read from its headers before a byte is unpacked.

A few kilobytes of packed zeros can claim gigabytes. Arrow allocates what each packed buffer claims, so the sum of the
claims bounds the memory. The headers are flatbuffers (Arrow columnar format, "IPC": Message, RecordBatch, Buffer).
"""

from __future__ import annotations

import struct

import pyarrow as pa

_RECORD_BATCH, _DICTIONARY_BATCH = "record batch", "dictionary"
_BUFFERS, _COMPRESSION = 2, 3


def unpacked_bytes(body: bytes) -> int:
    """Sum of the sizes that the buffers of a stream claim; raises ValueError for headers that make no sense."""
    total = 0
    try:
        for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(body)):
            if message.type in (_RECORD_BATCH, _DICTIONARY_BATCH):
                total += _claimed(bytes(message.metadata), message.body, message.type == _DICTIONARY_BATCH)
    except (struct.error, IndexError, pa.ArrowException) as error:
        raise ValueError(f"damaged Arrow headers: {error}") from error
    return total


def _claimed(metadata: bytes, body: pa.Buffer, is_dictionary: bool) -> int:
    message = struct.unpack_from("<I", metadata, 0)[0]
    batch = _table(metadata, message, 2)
    if batch is not None and is_dictionary:
        batch = _table(metadata, batch, 1)
    buffers = None if batch is None else _table(metadata, batch, _BUFFERS)
    if batch is None or buffers is None:
        return 0
    packed = _table(metadata, batch, _COMPRESSION) is not None
    total = 0
    for number in range(struct.unpack_from("<I", metadata, buffers)[0]):
        offset, length = struct.unpack_from("<qq", metadata, buffers + 4 + 16 * number)
        if offset < 0 or length < 0 or offset + length > body.size:
            raise ValueError(f"a buffer of {length} bytes at {offset} in a body of {body.size}")
        if packed and length:
            claimed = struct.unpack("<q", bytes(body.slice(offset, 8)))[0]
            length = length if claimed == -1 else claimed  # -1 marks a buffer that was left unpacked
        if length < 0:
            raise ValueError(f"a buffer that claims {length} bytes")
        total += length
    return total


def _table(data: bytes, table: int, field: int) -> int | None:
    """Position of what a flatbuffer table's field refers to, or None where the field is absent."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0 or table < 0:
        raise IndexError(f"a table at {table} with its description at {vtable}")
    size = struct.unpack_from("<H", data, vtable)[0]
    slot = 4 + 2 * field
    inside = struct.unpack_from("<H", data, vtable + slot)[0] if slot < size else 0
    if not inside:
        return None
    return int(table + inside + struct.unpack_from("<I", data, table + inside)[0])
