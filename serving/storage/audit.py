"""Raw events of one user, from the log and its archive, and whether what was billed from adds up to them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from features.database import Connection
from features.retracted import without_retracted
from features.schema import ARROW_SCHEMA, NEWEST_S
from features.stored_rows import decode
from features.stored_windows import WindowsReader
from features.windows import KEYS, RESOURCES, aggregate
from serving.storage.archive import Archive
from serving.storage.retention import engine_offset

_SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Audit:
    """``events`` of a user in a span (`ARROW_SCHEMA`, by time) not taken back, and windows that differ from their sums.

    ``differences`` has a row a window, with the columns of `features.windows.SCHEMA` as kept and, named ``..._raw``, as
    summed anew; null is a window that one side lacks.
    """

    events: pl.DataFrame
    differences: pl.DataFrame


def audit(connection: Connection, archive: Archive, user: str, start_ns: int, end_ns: int, window_s: int) -> Audit:
    """Compare the windows of one length in [start_ns, end_ns) with the raw events that the engine has read.

    Raises ValueError where the span does not begin and end with a window, CorruptBatchError for a damaged batch.
    """
    odd = [edge for edge in (start_ns, end_ns) if edge % (window_s * _SECOND_NS)]
    if odd:
        raise ValueError(f"{odd[0]} ns is no edge of a window of {window_s} s; begin and end at one")
    connection.execute("BEGIN")
    try:
        events = raw_events(connection, archive, user, start_ns, end_ns)
        kept = WindowsReader().windows(connection, window_s, start_ns, end_ns, user_id=user)
    finally:
        connection.execute("ROLLBACK")
    events = without_retracted(events)
    summed = aggregate(events, window_s * _SECOND_NS)
    both = kept.join(summed, on=["window_start", *KEYS], how="full", suffix="_raw", coalesce=True)
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(f"{name}_raw")) for name in ("events", *RESOURCES))
    return Audit(events, both.filter(~same))


def raw_events(connection: Connection, archive: Archive, user: str, start_ns: int, end_ns: int) -> pl.DataFrame:
    """A user's events in [start_ns, end_ns) that the engine has read, retractions too, in the order of time."""
    stamp = pl.col("timestamp").cast(pl.Int64)
    mine = (pl.col("user_id") == user) & (stamp >= start_ns) & (stamp < end_ns)
    archived = archive.scan().filter(mine).collect()
    logged = pl.DataFrame(pl.from_arrow(_logged(connection, user, start_ns))).filter(mine)
    return pl.concat([archived.cast(logged.schema), logged]).sort("timestamp", maintain_order=True)


def _logged(connection: Connection, user: str, start_ns: int) -> pa.Table:
    """The user's events among the batches that were not archived yet and may hold some of the span."""
    query = (
        "SELECT log_offset, digest, body FROM log WHERE log_offset <= ? AND length(body) > 0 AND received_ns >= ? "
        "ORDER BY log_offset"
    )
    found = []
    # No event is accepted that is further ahead of its receipt.
    values = (engine_offset(connection), start_ns - NEWEST_S * _SECOND_NS)
    for offset, digest, body in connection.execute(query, values):
        rows = decode(body, digest, f"batch at offset {offset}")
        found.append(rows.filter(pc.equal(rows["user_id"], user)))
    return pa.Table.from_batches(found, ARROW_SCHEMA)
