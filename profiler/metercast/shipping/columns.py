"""The compact form of a batch: columns of fixed width behind a small JSON header, without loss of any field.

Layout: the magic `MCB1`, the header's length (u32), the header (JSON, UTF-8), and the columns' bytes one after another,
all little-endian. The header has `producer`, `epoch`, `sequence`, `rows`, `names` (for each of `NAME_FIELDS` the texts
that its column numbers) and `columns`: for each of `COLUMNS` a pair (type, base). Types are B, H, I, Q (unsigned, of 1,
2, 4 and 8 bytes), d (float64), and c for a column whose every value is the base, which has no bytes. A value is base +
what is stored.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from math import isfinite

from metercast.event import COLUMNS_MAGIC, NAME_FIELDS
from metercast.native import compiled
from metercast.runtime import engine
from metercast.shipping.batch import wire_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from metercast.shipping.batch import Row

_NAME_PLACES = (1, 2, 4, 13)  # of the fields of NAME_FIELDS in a row
_DEFAULTS = {"userID": "unknown", "operationID": "unnamed"}
_compiled_pack = compiled(engine, "pack_columns")
_WIDTHS = (("B", 8), ("H", 16), ("I", 32), ("Q", 64))


def encode_columns(producer: str, epoch: int, sequence: int, rows: list[Row]) -> bytes:
    """The body of a batch; about a tenth of the bytes of JSON, and a fifth of the time to read it."""
    names, columns, data = (_compiled_pack or pack)(rows)
    header = {
        "producer": producer,
        "epoch": epoch,
        "sequence": sequence,
        "rows": len(rows),
        "names": {
            field: [wire_name(text, _DEFAULTS.get(field, "")) for text in texts]
            for field, texts in zip(NAME_FIELDS, names, strict=True)
        },
        "columns": columns,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join((COLUMNS_MAGIC, struct.pack("<I", len(text)), text, data))


def pack(rows: list[Row]) -> tuple[Sequence[list[str]], list[tuple[str, float]], bytes]:
    """(texts of the columns of names, (type, base) of each column, their bytes)."""
    turned = list(zip(*rows, strict=True)) or [()] * 14
    names, numbers = zip(*(_numbered(turned[place]) for place in _NAME_PLACES), strict=True)
    columns = [
        *(_integers(column) for column in numbers),
        _integers(turned[3]),
        _integers(turned[0]),
        *(_integers(turned[place]) for place in range(5, 9)),
        _floats(turned[9]),
        _floats(turned[10]),
        _integers(turned[11]),
        _integers(turned[12]),
    ]
    return names, [(kind, base) for kind, base, _ in columns], b"".join(data for _, _, data in columns)


def _numbered(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """The different texts, and the number of each one's place among them."""
    known = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return list(known), [known[text] for text in texts]


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
