"""The windows of a platform's database as a panel in a memory-mapped file, read in parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.database import Connection, Location, connect_for_reading
from features.planned_events import entries, planned_between
from features.series import COUNTED, SEPARATOR
from features.stored_windows import WindowsReader
from models.panel import Panel
from models.planned import Planned
from training.mapped_panel import create, reopened

NANOSECONDS = 1_000_000_000
WINDOWS_AT_ONCE = 512
"""So many windows of all series are in memory at a time."""

_KEY = ("user_id", "operation_id", "micro_operation_type")


def panel_of_windows(database: Location, window_s: int, windows: int, season: int, file: Path) -> Panel | None:
    """The last ``windows`` closed windows up to the last usage, as `features.series.all_series` has them.

    None where there are none. Windows that the engine may still add to are left out: they would teach that usage falls
    at the end. Raises sqlite3.OperationalError for a file, DatabaseError for a server, that is no platform's database.
    """
    connection = connect_for_reading(database)
    try:
        reader, window_ns = WindowsReader(), window_s * NANOSECONDS
        end_ns = min(_closed_until_ns(connection, window_s), _used_until_ns(connection, window_s))
        start_ns = end_ns - windows * window_ns
        series = _series(reader.totals(connection, window_s, start_ns, end_ns))
        if series.is_empty():
            return None
        # Pages of windows without usage are never written, so a file for all that was asked for costs no more.
        values = create(file, series.height, windows)
        used = []
        for first in range(0, windows, WINDOWS_AT_ONCE):
            begin_ns = start_ns + first * window_ns
            stop_ns = min(end_ns, begin_ns + WINDOWS_AT_ONCE * window_ns)
            frame = reader.windows(connection, window_s, begin_ns, stop_ns)
            used += _add(frame, series, values, start_ns, window_ns)
        events = entries(connection)
    finally:
        connection.close()
    names, tenants, resources = (tuple(series[name].to_list()) for name in ("series", "user_id", "resource"))
    kept = reopened(values, file)[:, min(used) : max(used) + 1]
    begin_ns = start_ns + min(used) * window_ns
    planned = Planned.of_events(planned_between(events, begin_ns, end_ns), names)
    return Panel(names, tenants, resources, kept, begin_ns, window_ns, season, planned)


def lengths_of_windows(database: Location) -> list[int]:
    """The lengths in seconds that there are windows of, shortest first."""
    connection = connect_for_reading(database)
    try:
        rows = connection.execute("SELECT window_s FROM window_chunks UNION SELECT window_s FROM rollups").fetchall()
    finally:
        connection.close()
    return sorted(int(row[0]) for row in rows)


def _closed_until_ns(connection: Connection, window_s: int) -> int:
    row = connection.execute("SELECT state FROM engine").fetchone()
    return int(json.loads(row[0])["closed_until_ns"].get(str(window_s), 0)) if row and row[0] else 0


def _used_until_ns(connection: Connection, window_s: int) -> int:
    """End of the last window that holds anything: a server that idles closes empty windows on and on."""
    latest = (
        "SELECT max(last_ns) FROM window_chunks WHERE window_s = ?",
        "SELECT max(window_start_ns) FROM rollups WHERE window_s = ?",
    )
    found = [connection.execute(query, (window_s,)).fetchone()[0] for query in latest]
    return max((int(one) + window_s * NANOSECONDS for one in found if one is not None), default=0)


def _series(totals: pl.DataFrame) -> pl.DataFrame:
    """Key, resource or meter, name and row of all series that were used at all, sorted by name."""
    parts = [
        totals.group_by(_KEY).agg(pl.col(name).sum().alias("total")).with_columns(pl.lit(name).alias("resource"))
        for name in COUNTED
    ]
    metered = totals.filter(pl.col("meter") != "").rename({"meter": "resource"})
    parts.append(metered.select(*_KEY, pl.col("units").alias("total"), "resource"))
    every = pl.concat([part.with_columns(pl.col("total").cast(pl.Float64)) for part in parts], how="diagonal")
    name = pl.concat_str(*_KEY, "resource", separator=SEPARATOR).alias("series")
    return every.filter(pl.col("total") > 0).with_columns(name).sort("series").with_row_index("row")


def _add(
    frame: pl.DataFrame, series: pl.DataFrame, values: NDArray[np.float64], start_ns: int, window_ns: int
) -> list[int]:
    """Add windows to their series (several meters of one micro-operation add up); returns the first and last slot."""
    if frame.is_empty():
        return []
    frame = frame.with_columns(((pl.col("window_start").cast(pl.Int64) - start_ns) // window_ns).alias("slot"))
    for resource in COUNTED:
        places = series.filter(pl.col("resource") == resource).select(*_KEY, "row")
        _scatter(frame.join(places, on=_KEY), resource, values)
    places = series.filter(~pl.col("resource").is_in(COUNTED)).select(*_KEY, pl.col("resource").alias("meter"), "row")
    _scatter(frame.join(places, on=(*_KEY, "meter")), "units", values)
    slots = frame["slot"]
    return [int(slots.min()), int(slots.max())]  # type: ignore[arg-type]


def _scatter(rows: pl.DataFrame, column: str, values: NDArray[np.float64]) -> None:
    amounts = rows[column].cast(pl.Float64).to_numpy()
    np.add.at(values, (rows["row"].to_numpy(), rows["slot"].to_numpy()), amounts)
