"""Removes chosen events from batches of the log; their keys stay, so that nothing sent again counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import polars as pl
import pyarrow as pa

from features.database import Connection
from features.schema import ARROW_SCHEMA
from features.stored_rows import decode, encode, walk


def matching(connection: Connection, chosen: pl.Expr, after: int, until: int = 2**63 - 1) -> Iterator[tuple[int, int]]:
    """Offset, and number of the chosen events, of every batch with offset in (after, until] that has some."""
    for stored in walk(connection, after, until):
        count = int(_flags(stored.rows(), chosen).sum())
        if count:
            yield stored.offset, count


def erase_rows(connection: Connection, chosen: pl.Expr, offsets: Iterable[int]) -> int:
    """Remove the chosen events of some batches, inside the caller's transaction; returns how many there were."""
    erased = 0
    for offset in offsets:
        digest, body = connection.execute("SELECT digest, body FROM log WHERE log_offset = ?", (offset,)).fetchone()
        if not body:  # moved to the archive meanwhile
            continue
        rows = decode(body, digest, f"batch at offset {offset}")
        kept = rows.filter(pa.array((~_flags(rows, chosen)).to_numpy(), pa.bool_()))
        erased += rows.num_rows - kept.num_rows
        new_body, new_digest = encode(kept)
        connection.execute(
            "UPDATE log SET events = ?, body = ?, digest = ?, sent = coalesce(sent, digest) WHERE log_offset = ?",
            (kept.num_rows, new_body, new_digest, offset),
        )
    return erased


def _flags(rows: pa.RecordBatch, chosen: pl.Expr) -> pl.Series:
    names = [name for name in chosen.meta.root_names() if name in ARROW_SCHEMA.names]
    frame = pl.DataFrame(pl.from_arrow(rows.select(names)))
    return frame.select(chosen.alias("chosen")).to_series()
