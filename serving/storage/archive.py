"""Old batches leave the database for Parquet parts; the log keeps their keys, so that nothing is counted twice."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.database import Connection
from features.schema import ARROW_SCHEMA
from features.stored_rows import CorruptBatchError, walk

PARTS = """
CREATE TABLE IF NOT EXISTS parts (
    file TEXT PRIMARY KEY,
    first_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL,
    events INTEGER NOT NULL,
    sha256 TEXT NOT NULL
) WITHOUT ROWID
"""
_PART_EVENTS = 500_000
# Times of one user rise, so that their differences are small; the bytes of numbers compress better side by side.
_FORMAT: dict[str, Any] = {
    "compression": "zstd",
    "row_group_size": 65_536,
    "use_dictionary": [field.name for field in ARROW_SCHEMA if field.type == pa.string()],
    "column_encoding": {
        field.name: "DELTA_BINARY_PACKED" if field.name == "timestamp" else "BYTE_STREAM_SPLIT"
        for field in ARROW_SCHEMA
        if field.type != pa.string()
    },
}


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of archived events, and the offsets of the batches in it."""

    file: str
    first_offset: int
    last_offset: int
    events: int
    sha256: str


class Archive:
    """The Parquet parts beside a data directory's database: sorted by user and time, zstd, one row an event."""

    def __init__(self, connection: Connection, directory: Path) -> None:
        """Parts lie in ``directory``, which is made when the first is written."""
        self._connection, self._directory = connection, directory
        connection.execute(PARTS)

    def parts(self) -> list[Part]:
        """All parts in the order of the log."""
        query = "SELECT file, first_offset, last_offset, events, sha256 FROM parts ORDER BY first_offset"
        return [Part(*row) for row in self._connection.execute(query)]

    def read(self, part: Part) -> pl.DataFrame:
        """The events of a part; raises CorruptBatchError when the file is missing or not as it was written."""
        path = self._directory / part.file
        if not path.is_file() or _sha256(path) != part.sha256:
            raise CorruptBatchError(f"{path} is missing or does not match its checksum; restore it from a backup")
        return pl.read_parquet(path)

    def scan(self) -> pl.LazyFrame:
        """All archived events; a filter by user or time reads only the row groups that may hold some."""
        files = [self._directory / part.file for part in self.parts()]
        return pl.scan_parquet(files) if files else pl.LazyFrame(pl.from_arrow(ARROW_SCHEMA.empty_table()))

    def move(self, before_ns: int, until_offset: int) -> list[Part]:
        """Move batches received before a time, up to the offset that the engine has read, into new parts.

        A part and the emptied batches commit together; a file left over from a crash is removed by the next call.
        """
        made: list[Part] = []
        self.tidy()
        while True:
            self._connection.execute("BEGIN IMMEDIATE")  # nobody may erase between reading and writing
            try:
                part = self._move_some(before_ns, until_offset)
                self._connection.execute("COMMIT")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            if part is None:
                return made
            made.append(part)

    def _move_some(self, before_ns: int, until_offset: int) -> Part | None:
        frames, offsets, events = [], list[int](), 0
        for offset, rows in self._old(before_ns, until_offset):
            frames.append(rows)
            offsets.append(offset)
            events += rows.height
            if events >= _PART_EVENTS:
                break
        if not offsets:
            return None
        part = self.write(f"events-{offsets[0]:012}-{offsets[-1]:012}", offsets[0], offsets[-1], pl.concat(frames))
        self._connection.executemany("UPDATE log SET body = ? WHERE log_offset = ?", [(b"", one) for one in offsets])
        return part

    def _old(self, before_ns: int, until_offset: int) -> Iterator[tuple[int, pl.DataFrame]]:
        for stored in walk(self._connection, 0, until_offset):
            if stored.received_ns < before_ns:
                yield stored.offset, pl.DataFrame(pl.from_arrow(stored.rows()))

    def write(self, stem: str, first_offset: int, last_offset: int, events: pl.DataFrame) -> Part:
        """Write a part durably and enter it, inside the caller's transaction."""
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / f"{stem}.parquet"
        ordered = events.select(ARROW_SCHEMA.names).sort("user_id", "timestamp", maintain_order=True)
        with path.open("wb") as file:
            pq.write_table(ordered.to_arrow().cast(ARROW_SCHEMA), file, **_FORMAT)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(self._directory)
        part = Part(path.name, first_offset, last_offset, events.height, _sha256(path))
        values = (part.file, first_offset, last_offset, part.events, part.sha256)
        self._connection.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?)", values)
        return part

    def replace(self, part: Part, events: pl.DataFrame, version: int) -> None:
        """Enter other events for a part, inside the caller's transaction; call `tidy` after its commit."""
        stem = part.file.removesuffix(".parquet").partition("-v")[0]
        self._connection.execute("DELETE FROM parts WHERE file = ?", (part.file,))
        if events.height:
            self.write(f"{stem}-v{version}", part.first_offset, part.last_offset, events)

    def erase(self, chosen: pl.Expr, version: int) -> int:
        """Remove the chosen events from all parts, inside the caller's transaction; returns how many there were.

        Call `tidy` after the commit. ``version`` names the parts written anew and must be higher each time.
        """
        erased = 0
        for part in self.parts():
            events = self.read(part)
            kept = events.filter(~chosen)
            if kept.height < events.height:
                self.replace(part, kept, version)
                erased += events.height - kept.height
        return erased

    def tidy(self) -> None:
        """Remove files that no part names: what a crash left, and what was replaced."""
        named = {part.file for part in self.parts()}
        for path in self._directory.glob("events-*.parquet"):
            if path.name not in named:
                path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
