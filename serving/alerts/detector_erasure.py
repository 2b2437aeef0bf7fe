"""Removes a user's series from the kept detectors, and gathers old values into states."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from features.database import Connection, tables
from serving.alerts.detector_store import (
    BLOCK,
    DetectorStore,
    decode_rows,
    decode_values,
    encode_rows,
    encode_values,
)
from serving.alerts.series_bank import SeriesBank

PLACES = (("detector_series", "user_id = :user"),)
"""Table and condition of what `erase_user` removes."""


def erase_user(connection: Connection, user: str) -> int:
    """Remove them all, inside the caller's transaction; returns how many series there were."""
    if "detector_series" not in tables(connection):
        return 0
    query = "SELECT series_id FROM detector_series WHERE user_id = ?"
    numbers = np.array([row[0] for row in connection.execute(query, (user,)).fetchall()], np.intp)
    if not len(numbers):
        return 0
    for block in np.unique(numbers // BLOCK).tolist():
        found = connection.execute("SELECT body FROM detector_states WHERE block = ?", (block,)).fetchone()
        if found is not None:
            body = _rows_without(found[0], numbers)
            connection.execute("UPDATE detector_states SET body = ? WHERE block = ?", (body, block))
    for step, body, priors in connection.execute("SELECT step, body, priors FROM detector_values").fetchall():
        starts_ns, columns, values = decode_values(body)
        kept = ~np.isin(columns, numbers)
        others = encode_values(starts_ns[kept], columns[kept], values[kept])
        left = _rows_without(priors, numbers) if priors is not None else None
        connection.execute("UPDATE detector_values SET body = ?, priors = ? WHERE step = ?", (others, left, step))
    return connection.execute("DELETE FROM detector_series WHERE user_id = ?", (user,)).rowcount


def gather(connection: Connection, before_ns: int) -> int:
    """Learn values into states, inside the caller's transaction, where some are of windows before a time.

    Nothing that was learnt is lost by it, and no single value is kept any longer; returns how many steps it gathered.
    """
    if "detector_values" not in tables(connection):
        return 0
    bodies = connection.execute("SELECT body FROM detector_values ORDER BY step").fetchall()
    starts_ns = np.concatenate([np.zeros(0, np.int64), *(decode_values(body)[0] for (body,) in bodies)])
    if not (starts_ns < before_ns).any():
        return 0
    bank, store = SeriesBank(), DetectorStore()
    store.load(connection, bank)
    store.write_whole(connection, bank)
    return len(bodies)


def _rows_without(body: bytes, numbers: NDArray[np.intp]) -> bytes:
    columns, rows = decode_rows(body)
    kept = ~np.isin(columns, numbers)
    return encode_rows(columns[kept], rows[kept])
