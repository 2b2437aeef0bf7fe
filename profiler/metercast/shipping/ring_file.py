"""Reads what a killed process has left in its ring file: records that no batch holds, as rows.

The compiled engine writes the file (``native/recording.h`` has its layout): a page of numbers, the texts of names one
after another, then a ring a thread, each a page of positions and its records. All of it is in the machine's own byte
order, as the file is read where it was written.
"""

from __future__ import annotations

import mmap
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.shipping.batch import Row

SUFFIX = ".ring"
_HEAD = struct.Struct("=8s32s5Q3Q2q")
_POSITIONS = struct.Struct("=4Q")
_RECORD = struct.Struct("=6qd2q4I")
_SIZE = struct.Struct("=I")
_MAGIC, _PAGE = b"MCRINGS1", 4096


def rows_of(path: str, is_batch_complete: bool) -> list[Row]:
    """The rows of all records that wait in a ring file, oldest first in each ring; none where there is no such file.

    ``is_batch_complete``: the batch that was being written is whole, so its records wait no more.
    """
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            return _rows(memory, is_batch_complete)
    except (OSError, ValueError, struct.error):  # none, or not of this kind: its records are told as lost
        return []


def _rows(memory: mmap.mmap, is_batch_complete: bool) -> list[Row]:
    head = _HEAD.unpack_from(memory)
    magic, source, record_size, capacity, names_at, rings_at, stride, _, names_count, rings, shift_ns, hz = head
    if magic != _MAGIC or record_size != _RECORD.size:
        return []
    kept = f"{source.rstrip(bytes(1)).decode()}, kept"
    names = _names(memory, names_at, names_count)
    rows = []
    for ring in range(rings):
        at = rings_at + ring * stride
        first, end, base, intended = _POSITIONS.unpack_from(memory, at)
        for number in range(intended if is_batch_complete else first, end):
            place = (number - base) % capacity
            row = _row(_RECORD.unpack_from(memory, at + _PAGE + place * record_size), names, shift_ns, hz, kept)
            if row is not None:
                rows.append(row)
    return rows


def _names(memory: mmap.mmap, at: int, count: int) -> list[str]:
    names = []
    for _ in range(count):
        (size,) = _SIZE.unpack_from(memory, at)
        at += _SIZE.size
        names.append(memory[at : at + size].decode(errors="replace"))
        at += size
    return names


def _row(record: tuple[int | float, ...], names: list[str], shift_ns: int, hz: int, source: str) -> Row | None:
    """A record as a row; None where the file had no room for its names."""
    ended_ns, cpu_ns, memory, network, disk, duration_ns, units, number, parent, operation, user, meter, code = record
    if max(operation, user, meter) >= len(names):
        return None
    return (
        int(ended_ns) + shift_ns,
        names[int(user)],
        names[int(operation)],
        int(code),
        names[int(meter)],
        int(cpu_ns) * hz // 1_000_000_000,
        int(memory),
        int(network),
        int(disk),
        duration_ns / 1e6,
        float(units),
        int(number),
        int(parent),
        source,
    )
