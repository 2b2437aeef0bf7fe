"""The compact form of a batch: columns of fixed width behind a small JSON header, without loss of any field.

Layout: the magic `MCB1`, the header's length (u32), the header (JSON, UTF-8), and the columns' bytes one after another,
all little-endian. The header has `producer`, `epoch`, `sequence`, `rows`, `keys` (lists of the fields of `KEY_FIELDS`,
the type as its code) and `columns`: for each of `COLUMNS` a pair (type, base). Types are B, H, I, Q (unsigned integers
of 1, 2, 4 and 8 bytes), d (float64), and c for a column whose every value is the base, which has no bytes. A value is
base + what is stored.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from math import isfinite

from metercast.event import COLUMNS_MAGIC
from metercast.shipping.batch import wire_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from metercast.shipping.batch import Row

_WIDTHS = (("B", 8), ("H", 16), ("I", 32), ("Q", 64))


def encode_columns(producer: str, epoch: int, sequence: int, rows: list[Row]) -> bytes:
    """The body of a batch; takes about half the time and a quarter of the bytes of JSON."""
    keys: dict[tuple[Any, ...], int] = {}
    numbers = [keys.setdefault((row[1], row[2], row[3], row[4], row[13]), len(keys)) for row in rows]
    turned = list(zip(*rows, strict=True)) or [()] * 14
    columns = [
        _integers(numbers),
        _integers(turned[0]),
        *(_integers(turned[place]) for place in range(5, 9)),
        _floats(turned[9]),
        _floats(turned[10]),
        _integers(turned[11]),
        _integers(turned[12]),
    ]
    header = {
        "producer": producer,
        "epoch": epoch,
        "sequence": sequence,
        "rows": len(rows),
        "keys": [
            (wire_name(user, "unknown"), wire_name(operation, "unnamed"), code, wire_name(meter), wire_name(source))
            for user, operation, code, meter, source in keys
        ],
        "columns": [(kind, base) for kind, base, _ in columns],
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((COLUMNS_MAGIC, struct.pack("<I", len(text)), text, *(data for _, _, data in columns)))


def _integers(values: Sequence[int]) -> tuple[str, int, bytes]:
    lowest, highest = (min(values), max(values)) if values else (0, 0)
    if lowest == highest:
        return "c", lowest, b""
    span = highest - lowest
    kind = next(letter for letter, bits in _WIDTHS if span >> bits == 0)
    return kind, lowest, _bytes(array(kind, [value - lowest for value in values] if lowest else values))


def _floats(values: Sequence[float]) -> tuple[str, float, bytes]:
    if not values or (min(values) == max(values) and isfinite(values[0])):
        return "c", values[0] if values else 0.0, b""
    return "d", 0.0, _bytes(array("d", values))


def _bytes(values: array[Any]) -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
