"""Rows of a batch in few bytes: numbers as narrow as they allow, names as numbers of their distinct values.

An Arrow reader of any kind understands it; the batch's key stands in the schema's metadata instead of in each row. The
same rows always give the same bytes, compiled or not, as their checksum tells batches apart.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features.compiled_events import IS_COMPILED, narrow_rows, wide_rows
from features.schema import ARROW_SCHEMA

KEY = ("producer", "epoch", "sequence")
_OTHERS = [name for name in ARROW_SCHEMA.names if name not in KEY]
_WIDTHS = (pa.uint8(), pa.uint16(), pa.uint32())


def narrowed(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of `ARROW_SCHEMA`, at least one, in fewer bytes."""
    metadata = {name: str(rows[name][0].as_py()) for name in KEY}
    found = narrow_rows(rows) if IS_COMPILED else None
    if found is None:
        arrays = [_narrow(name, rows[name]) for name in _OTHERS]
        fields = [pa.field(name, array.type, False) for name, array in zip(_OTHERS, arrays, strict=True)]
        found = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))
    return found.replace_schema_metadata(metadata)


def widened(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows that `narrowed` was given."""
    if rows.schema.names == ARROW_SCHEMA.names:  # kept as they came
        return rows
    metadata = {name.decode(): value.decode() for name, value in rows.schema.metadata.items()}
    key = (metadata["producer"], int(metadata["epoch"]), int(metadata["sequence"]))
    found = wide_rows(rows, key) if IS_COMPILED else None
    if found is not None:
        return found
    arrays = [rows[name].cast(ARROW_SCHEMA.field(name).type) for name in _OTHERS]
    arrays += [
        pa.repeat(pa.scalar(value, ARROW_SCHEMA.field(name).type), rows.num_rows)
        for name, value in zip(KEY, key, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=ARROW_SCHEMA)


def _narrow(name: str, values: pa.Array) -> pa.Array:
    kind = ARROW_SCHEMA.field(name).type
    if kind == pa.string():
        named = values.dictionary_encode()
        if len(named.dictionary) > len(values) // 2:
            return values
        return pa.DictionaryArray.from_arrays(named.indices.cast(_width(len(named.dictionary) - 1)), named.dictionary)
    numbers = values.cast(pa.int64()).to_numpy() if kind != pa.float64() else values.to_numpy().view(np.int64)
    whole = int(np.bitwise_or.reduce(numbers.view(np.uint64)))  # of a negative number the highest bit is set
    width = _width(whole)
    if name == "timestamp" or width is None or (kind == pa.float64() and whole):
        return values
    return pa.array(numbers).cast(width)


def _width(most: int) -> pa.DataType | None:
    """The narrowest type of whole numbers from 0 to ``most`` that is narrower than 64 bits."""
    return next((width for width in _WIDTHS if most < 1 << width.bit_width), None)
