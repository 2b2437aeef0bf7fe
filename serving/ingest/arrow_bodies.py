"""Arrow streams from strangers as batches: sizes and types are checked before a buffer is read, then every value."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from features.compiled_events import IS_COMPILED, batch_from_rows
from features.contracts import Batch
from features.schema import ARROW_SCHEMA, LONGEST_NAME, Rejection
from serving.ingest.arrow_rows import faults
from serving.ingest.arrow_size import unpacked_bytes
from serving.ingest.batch_keys import content_key, given_key
from serving.ingest.limits import BodyError, Limits

ARROW_MEDIA_TYPE = "application/vnd.apache.arrow.stream"
_KEY = ("producer", "epoch", "sequence")
_NEEDED = ("timestamp", "operation_id", "micro_operation_type", "user_id")


def batch_from_arrow(body: bytes, limits: Limits, now_s: float) -> tuple[Batch, list[Rejection]]:
    """One batch and its rejected rows; raises BodyError when the stream as a whole cannot be taken.

    The batch's key stands in the columns producer, epoch and sequence, the same in every row, or in the schema's
    metadata; a stream without it is known by its content.
    """
    try:
        size = unpacked_bytes(body)
        if size > limits.unpacked_bytes:
            raise BodyError(
                413, f"the body unpacks to {size} bytes, at most {limits.unpacked_bytes}; send smaller batches"
            )
        quick = _quick(body, limits, now_s)
        if quick is not None:
            return quick, []
        table = _checked_table(body, limits)
        key = _key(table, body)
        bad = faults(table, now_s)
        rows = event_rows(table, key, bad)
    except BodyError:
        raise
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise BodyError(400, f"the body is no Arrow stream of events: {error}") from error
    return Batch(*key, rows), [Rejection(row, bad[row]) for row in sorted(bad)]


def _quick(body: bytes, limits: Limits, now_s: float) -> Batch | None:
    """A stream of one record batch whose every value is plainly good, checked in one go; None for all others."""
    reader = pa.ipc.open_stream(body)
    if not IS_COMPILED or any(name not in reader.schema.names for name in _NEEDED):
        return None
    try:
        rows = reader.read_next_batch()
    except StopIteration:
        return None
    limits.check_rows(rows.num_rows)
    if not rows.num_rows or _has_more(reader):
        return None
    given = pa.Table.from_batches([rows]).select([name for name in _KEY if name in rows.schema.names])
    given.validate(full=True)
    key = _key(given, body) if given.num_columns else _stated_key(rows.schema.metadata, body)
    return batch_from_rows(rows, key, now_s, limits.unpacked_bytes)


def _has_more(reader: pa.RecordBatchStreamReader) -> bool:
    try:
        reader.read_next_batch()
    except StopIteration:
        return False
    return True


def _checked_table(body: bytes, limits: Limits) -> pa.Table:
    """The columns of events in a stream, valid in themselves; what a value says is not looked at."""
    reader = pa.ipc.open_stream(body)
    _check_types(reader.schema)
    table = reader.read_all()
    limits.check_rows(table.num_rows)
    names = [name for name in ARROW_SCHEMA.names if name in table.column_names]
    table = table.select(names)
    table.validate(full=True)
    for name, column in zip(names, table.columns, strict=True):
        _check_expansion(name, column)
    return table


def _check_types(schema: pa.Schema) -> None:
    """Raises BodyError unless every column of an event is there once, plain or dictionary-encoded."""
    missing = [name for name in _NEEDED if name not in schema.names]
    if missing:
        raise BodyError(400, f"column {missing[0]} is missing; an event has {', '.join(ARROW_SCHEMA.names)}")
    for field in schema:
        if field.name not in ARROW_SCHEMA.names:
            if pa.types.is_nested(field.type) or isinstance(field.type, pa.BaseExtensionType):
                raise BodyError(
                    400, f"column {field.name} is of type {field.type} and no part of an event; leave it out"
                )
            continue
        if schema.names.count(field.name) > 1:
            raise BodyError(400, f"column {field.name} is there {schema.names.count(field.name)} times; send it once")
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        wanted = ARROW_SCHEMA.field(field.name).type
        if not any(fits(kind) for fits in _ALIKE[str(wanted)]):
            raise BodyError(
                400, f"column {field.name} is of type {field.type}; use {wanted}, dictionary-encoded or not"
            )


_ALIKE = {
    "string": (pa.types.is_string, pa.types.is_large_string),
    "int64": (pa.types.is_integer,),
    "double": (pa.types.is_floating, pa.types.is_integer),
    "timestamp[ns, tz=UTC]": (pa.types.is_timestamp, pa.types.is_int64),
}


def _check_expansion(name: str, column: pa.ChunkedArray) -> None:
    """Refuse dictionaries of long values: a few bytes of them would become very many as plain strings."""
    if not pa.types.is_dictionary(column.type) or not pa.types.is_string(ARROW_SCHEMA.field(name).type):
        return
    longest = max((pc.max(pc.utf8_length(chunk.dictionary)).as_py() or 0 for chunk in column.chunks), default=0)
    if longest > LONGEST_NAME:
        raise BodyError(400, f"column {name} has a value of {longest} characters, at most {LONGEST_NAME}")


def _key(table: pa.Table, body: bytes) -> tuple[str, int, int]:
    given = [name for name in _KEY if name in table.column_names]
    if not given:
        return _stated_key(table.schema.metadata, body)
    if len(given) < len(_KEY) or not table.num_rows:
        raise BodyError(400, f"a batch needs {', '.join(_KEY)}, the same in each of its rows; found {', '.join(given)}")
    found = {name: pc.unique(table[name]) for name in _KEY}
    if max(map(len, found.values())) != 1:
        raise BodyError(400, f"an Arrow body is one batch: one producer, epoch and sequence, not {_most(found)}")
    return given_key({name: values[0].as_py() for name, values in found.items()})


def _stated_key(metadata: Mapping[bytes, bytes] | None, body: bytes) -> tuple[str, int, int]:
    """The key of a schema's metadata, or one made of the content."""
    stated = {name.decode(): value.decode() for name, value in (metadata or {}).items()}
    if not any(name in stated for name in _KEY):
        return content_key(body)
    numbers = {name: int(stated[name]) if stated.get(name, "").isdecimal() else None for name in _KEY[1:]}
    return given_key({"producer": stated.get("producer")} | numbers)


def _most(found: dict[str, pa.Array]) -> str:
    name = max(found, key=lambda name: len(found[name]))
    return f"{len(found[name])} of {name}"


def event_rows(table: pa.Table, key: tuple[str, int, int], bad: Collection[int] = ()) -> pa.RecordBatch:
    """The good rows in `ARROW_SCHEMA`; optional columns that are missing are filled with their defaults."""
    if bad:
        table = table.filter(pa.array([row not in bad for row in range(table.num_rows)], pa.bool_()))
    arrays = []
    for field in ARROW_SCHEMA:
        if field.name in _KEY:
            arrays.append(pa.repeat(pa.scalar(key[_KEY.index(field.name)], field.type), table.num_rows))
        elif field.name in table.column_names:
            arrays.append(_plain(table[field.name].cast(field.type)))
        else:
            arrays.append(pa.repeat(pa.scalar("" if field.type == pa.string() else 0, field.type), table.num_rows))
    return pa.RecordBatch.from_arrays(arrays, schema=ARROW_SCHEMA)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
