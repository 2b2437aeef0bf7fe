"""Brings detectors of databases of version 1, a row of text a series, into the tables of today."""

from __future__ import annotations

from base64 import b64decode

import numpy as np
from numpy.typing import NDArray

from features.database import Connection, tables
from models.detectors import slow_drift_bank as drift
from models.detectors import views
from models.detectors.slow_drift_bank import QUARTERS
from serving.alerts.detector_store import TABLES, DetectorStore
from serving.alerts.series_bank import WIDTH, SeriesBank
from serving.alerts.watch_list import Key

_OWN, _DRIFT = 4, 19
"""Numbers beside the detector's: of the series itself, and of its drift test."""


def blocks_of_rows(connection: Connection) -> None:
    """Move all series, inside the caller's transaction; one whose row cannot be read begins anew."""
    if "detectors" not in tables(connection):
        return
    for table in TABLES:
        connection.execute(table)
    states: dict[Key, NDArray[np.float64]] = {}
    for name, text in connection.execute("SELECT series, state FROM detectors ORDER BY series").fetchall():
        key, row = name.split("|"), _row(text)
        if len(key) == 4 and row is not None:
            states[key[0], key[1], key[2], key[3]] = row
    if states:
        rows = ((number, *key) for number, key in enumerate(states))
        connection.executemany("INSERT INTO detector_series VALUES (?, ?, ?, ?, ?)", rows)
        bank, store = SeriesBank(), DetectorStore()
        store.load(connection, bank)
        bank.put(np.arange(len(states)), np.stack(list(states.values())))
        store.write_whole(connection, bank)
    connection.execute("DROP TABLE detectors")


def _row(text: str) -> NDArray[np.float64] | None:
    """A state of version 1 in the order of `SeriesBank.rows`; None for one of a version before."""
    try:
        numbers = np.frombuffer(b64decode(text, validate=True), np.float64)
    except ValueError:
        return None
    own = views.WIDTH + _OWN
    if len(numbers) not in (own, own + _DRIFT):
        return None
    test = drift.SlowDriftBank(1).rows(slice(None))[0]
    if len(numbers) > own:
        _, _, _, score, square_count, square, *usual, count, mean, increase, least, _ = numbers[own:].tolist()
        test[[drift.SCORE, drift.COUNT, drift.MEAN, drift.INCREASE, drift.LEAST]] = score, count, mean, increase, least
        test[[drift.SQUARE_COUNT, drift.SQUARE]] = square_count, square
        test[drift.USUAL_COUNT : drift.USUAL_COUNT + QUARTERS] = usual[::2]
        test[drift.USUAL : drift.USUAL + QUARTERS] = usual[1::2]
    row = np.concatenate([numbers[: views.WIDTH], test, numbers[views.WIDTH : own]])
    return row if len(row) == WIDTH else None
