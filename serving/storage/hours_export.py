"""Hours as Parquet files, one a month, for whatever reads Parquet: a copy as of one moment of the log.

The hours that bills rest on stay in the database, where late, corrected and retracted events revise them; a file that
is written anew has what they were revised to. It says in its metadata up to which offset of the log it goes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.database import Connection
from features.stored_windows import ROLLUP_S, WindowsReader
from features.windows import KEYS, SCHEMA
from serving.accounts.periods import month_ns
from serving.storage.retention import engine_offset

_ROWS = 65_536
"""Rows of a row group: of a user's month, a reader takes few groups and leaves out the others by their statistics."""

_COLUMNS = ("user_id", "window_start", *KEYS[1:], *(name for name in SCHEMA if name not in ("window_start", *KEYS)))
Told = Callable[[str, int, int], object]


@dataclass(frozen=True, slots=True)
class HoursFile:
    """A month's file: its name, its rows, and the events that they sum up."""

    file: str
    hours: int
    events: int


def export_hours(
    connection: Connection,
    directory: Path,
    months: Sequence[tuple[int, int]] = (),
    told: Told = lambda _file, _done, _all: None,
) -> list[HoursFile]:
    """Write the hours of months (start and end in Unix nanoseconds; none: all there are) to ``directory``.

    Files are ``hours-YYYY-MM.parquet``, zstd, sorted by user and time; one that exists is replaced at once. ``told``
    hears of how many users how many are done. Months without usage give no file. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    connection.execute("BEGIN")
    try:
        reader, offset = WindowsReader(), engine_offset(connection)
        users = reader.users(connection)
        found = []
        for span in months or _months(connection):
            name = f"hours-{datetime.fromtimestamp(span[0] // 10**9, UTC):%Y-%m}.parquet"
            made = _write(directory / name, _frames(connection, reader, users, span, partial(told, name)), offset)
            if made is not None:
                found.append(made)
    finally:
        connection.execute("ROLLBACK")
    return found


def _months(connection: Connection) -> Iterator[tuple[int, int]]:
    """Every month from the first hour on to the last."""
    query = """
        SELECT min(first_ns), max(last_ns) FROM (
            SELECT min(window_start_ns) AS first_ns, max(window_start_ns) AS last_ns FROM rollups WHERE window_s = ?
            UNION ALL SELECT min(first_ns), max(last_ns) FROM window_chunks WHERE window_s = ?
        ) AS spans
    """
    first, last = connection.execute(query, (ROLLUP_S, ROLLUP_S)).fetchone()
    at = month_ns(first) if first is not None else (1, 0)
    while at[0] <= (last or 0):
        yield at
        at = month_ns(at[1])


def _frames(
    connection: Connection,
    reader: WindowsReader,
    users: Sequence[str],
    span: tuple[int, int],
    told: Callable[[int, int], object],
) -> Iterator[pl.DataFrame]:
    """A user's hours after the other's: of all users at once they would take too much memory."""
    for number, user in enumerate(users):
        hours = reader.windows(connection, ROLLUP_S, *span, user_id=user)
        if hours.height:
            yield hours.select(_COLUMNS)
        told(number + 1, len(users))


def _write(path: Path, frames: Iterator[pl.DataFrame], offset: int) -> HoursFile | None:
    """Write a file beside its place, durably, and put it there; nothing where there are no hours."""
    first = next(frames, None)
    if first is None:
        return None
    told = {"metercast.log_offset": str(offset), "metercast.window_s": str(ROLLUP_S)}
    schema = _arrow(first).schema.with_metadata(told)
    draft, hours, events = path.with_suffix(".draft"), 0, 0
    try:
        with draft.open("wb") as file:
            with pq.ParquetWriter(file, schema, compression="zstd") as writer:
                for part in _gathered(first, frames):
                    writer.write_table(_arrow(part).cast(schema), row_group_size=_ROWS)
                    hours, events = hours + part.height, events + int(part["events"].sum())
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return HoursFile(path.name, hours, events)


def _gathered(first: pl.DataFrame, frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Frames joined until they fill row groups."""
    waiting, rows = [first], first.height
    for frame in frames:
        if rows >= _ROWS:
            yield pl.concat(waiting)
            waiting, rows = [], 0
        waiting.append(frame)
        rows += frame.height
    yield pl.concat(waiting)


def _arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
