"""The windows of a platform's database as a panel in a memory-mapped file, read in parts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.series import COUNTED, SEPARATOR
from models.panel import Panel
from training.mapped_panel import create, reopened

NANOSECONDS = 1_000_000_000
ROWS_AT_ONCE = 50_000

_KEY = "user_id, operation_id, micro_operation_type, meter"
_RANGE = "FROM windows WHERE window_s = ? AND window_start_ns >= ? AND window_start_ns < ?"
Key = tuple[str, str, str, str]


def panel_of_windows(database: Path, window_s: int, windows: int, season: int, file: Path) -> Panel | None:
    """The last ``windows`` closed windows, as `features.series.all_series` has them; None where there are none.

    Windows that the engine may still add to are left out: they would teach that usage falls at the end. Raises
    sqlite3.OperationalError for a file that is no platform's database.
    """
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)
    try:
        end_ns = _closed_until_ns(connection, window_s)
        span = (window_s, end_ns - windows * window_s * NANOSECONDS, end_ns)
        series = _series(connection, span)
        first, last = connection.execute(f"SELECT min(window_start_ns), max(window_start_ns) {_RANGE}", span).fetchone()
        if not series:
            return None
        window_ns = window_s * NANOSECONDS
        values = create(file, len(series), (last - first) // window_ns + 1)
        _add_all(connection, span, series, values, first)
    finally:
        connection.close()
    names = tuple(SEPARATOR.join(one) for one in series)
    tenants, resources = tuple(one[0] for one in series), tuple(one[3] for one in series)
    return Panel(names, tenants, resources, reopened(values, file), first, window_ns, season)


def _closed_until_ns(connection: sqlite3.Connection, window_s: int) -> int:
    query = "SELECT json_extract(state, '$.closed_until_ns.' || json_quote(CAST(? AS TEXT))) FROM engine"
    row = connection.execute(query, (window_s,)).fetchone()
    return int(row[0]) if row and row[0] else 0


def _series(connection: sqlite3.Connection, span: tuple[int, int, int]) -> list[tuple[str, str, str, str]]:
    """(user, operation, micro-operation type, resource or meter) of all that was used at all, by name."""
    sums = ", ".join(f"sum({name}) > 0" for name in (*COUNTED, "units"))
    found: set[tuple[str, str, str, str]] = set()
    for row in connection.execute(f"SELECT {_KEY}, {sums} {_RANGE} GROUP BY {_KEY}", span):
        key, meter, used = row[:3], row[3], row[4:]
        found |= {(*key, name) for name, is_used in zip(COUNTED, used, strict=False) if is_used}
        if meter and used[-1]:
            found.add((*key, meter))
    return sorted(found, key=SEPARATOR.join)


def _add_all(
    connection: sqlite3.Connection,
    span: tuple[int, int, int],
    series: Sequence[tuple[str, str, str, str]],
    values: NDArray[np.float64],
    first_ns: int,
) -> None:
    """Add every window to its series; several meters of one micro-operation add up."""
    place = {key: row for row, key in enumerate(series)}
    columns = ", ".join((*COUNTED, "units"))
    cursor = connection.execute(f"SELECT window_start_ns, {_KEY}, {columns} {_RANGE}", span)
    window_ns = span[0] * NANOSECONDS
    for rows in _parts(cursor):
        slots = (np.array([row[0] for row in rows]) - first_ns) // window_ns
        for column, resource in enumerate((*COUNTED, None)):
            # The last column, units, belongs to the series of its meter.
            places = np.array([place.get((*row[1:4], resource or row[4]), -1) for row in rows])
            amounts = np.array([row[5 + column] for row in rows], dtype=np.float64)
            known = (places >= 0) & (amounts != 0)
            np.add.at(values, (places[known], slots[known]), amounts[known])


def _parts(cursor: sqlite3.Cursor) -> Iterator[list[tuple[Any, ...]]]:
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        yield rows
