"""Keeps the detectors of all series: blocks of whole states written in turn, and the values learnt since.

A state is 1.7 kB, and learning a value changes it everywhere; a value is 8 bytes. So a step writes the values that it
taught, and the states of a few blocks; a start reads states and learns the values that came after. Blocks hold series
in the order in which they came, so that no write is large. Names are in `detector_series` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from features.database import Connection
from serving.alerts.series_bank import Priors, SeriesBank
from serving.alerts.watch_list import Key
from serving.alerts.window_values import edges

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS detector_series (
        series_id INTEGER PRIMARY KEY,
        user_id TEXT NOT NULL,
        operation_id TEXT NOT NULL,
        micro_operation_type TEXT NOT NULL,
        resource TEXT NOT NULL
    )
    """,
    "CREATE TABLE IF NOT EXISTS detector_states (block INTEGER PRIMARY KEY, step INTEGER NOT NULL, body BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS detector_values (step INTEGER PRIMARY KEY, body BLOB NOT NULL, priors BLOB)",
)
BLOCK = 256
"""Series in a block."""

TURN_WINDOWS = 64
"""Within so many windows the states of all blocks are written once."""

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
_KEEP_STATE = (
    "INSERT INTO detector_states VALUES (?, ?, ?) "
    "ON CONFLICT (block) DO UPDATE SET step = excluded.step, body = excluded.body"
)


@dataclass(slots=True)
class Learnt:
    """What a step taught: values in the order of their windows, and baselines that series began with."""

    starts_ns: list[int] = field(default_factory=list)
    columns: list[NDArray[np.intp]] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    priors: list[Priors] = field(default_factory=list)

    def add(self, start_ns: int, columns: NDArray[np.intp], values: NDArray[np.float64], priors: Priors) -> None:
        """One window."""
        self.starts_ns.append(start_ns)
        self.columns.append(columns)
        self.values.append(values)
        if len(priors.columns):
            self.priors.append(priors)

    def encode(self) -> bytes:
        """All values, as `decode_values` reads them."""
        starts = np.repeat(np.array(self.starts_ns, np.int64), [len(columns) for columns in self.columns])
        return encode_values(starts, np.concatenate(self.columns), np.concatenate(self.values))


@dataclass(slots=True)
class DetectorWrite:
    """Rows of the three tables, made before the transaction that writes them; whole ones replace all that is there."""

    series: list[tuple[int, str, str, str, str]]
    states: list[tuple[int, int, bytes]]
    values: tuple[int, bytes, bytes | None] | None
    covered: int
    is_whole: bool = False


class DetectorStore:
    """What of an engine's detectors is kept; a step is `prepared` before the transaction and `written` in it."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._step = self._saved = self._debt = 0
        self._is_renumbered = False

    def load(self, connection: Connection, bank: SeriesBank) -> list[tuple[int, Key]]:
        """Bring a new bank to where its detectors were; returns the numbers and keys of their series."""
        query = "SELECT series_id, user_id, operation_id, micro_operation_type, resource FROM detector_series"
        keys = [(row[0], tuple(row[1:])) for row in connection.execute(f"{query} ORDER BY series_id").fetchall()]
        self._saved = keys[-1][0] + 1 if keys else 0
        bank.grow(self._saved)
        self._steps = [0] * _blocks(self._saved)
        for block, step, body in connection.execute("SELECT block, step, body FROM detector_states").fetchall():
            columns, rows = decode_rows(body)
            bank.put(columns, rows)
            self._steps[block] = step
        self._step = max(self._steps, default=0)
        found = connection.execute("SELECT step, body, priors FROM detector_values ORDER BY step").fetchall()
        for step, body, priors in found:
            self._debt += len(self._steps) * self._learn(bank, step, body, priors)
            self._step = step
        return keys

    def _learn(self, bank: SeriesBank, step: int, body: bytes, priors: bytes | None) -> int:
        """Teach a bank once more what a step taught, where its states are from before that; returns the windows."""
        is_before = np.array(self._steps) < step
        if priors is not None:
            columns, rows = decode_rows(priors)
            wanted = is_before[columns // BLOCK]
            bank.begin_with(Priors(columns[wanted], rows[wanted]))
        starts_ns, columns, values = decode_values(body)
        wanted = is_before[columns // BLOCK]
        starts_ns, columns, values = starts_ns[wanted], columns[wanted], values[wanted]
        windows = edges(starts_ns)
        for first, end in windows:
            start_s = int(starts_ns[first]) / 1e9
            bank.begin(columns[first:end], np.full(end - first, -1), start_s)
            bank.step(columns[first:end], values[first:end], start_s)
        return len(windows)

    def prepared(self, bank: SeriesBank, keys: Sequence[Key], learnt: Learnt) -> DetectorWrite:
        """What a step must write, with the states of the blocks whose turn it is."""
        self._step += 1
        if self._is_renumbered:
            return self._whole(bank, keys)
        series = [(number, *keys[number]) for number in range(self._saved, len(keys))]
        self._saved = len(keys)
        self._steps += [self._step - 1] * (_blocks(len(keys)) - len(self._steps))
        self._debt += len(self._steps) * len(learnt.starts_ns)
        turns = min(self._debt // TURN_WINDOWS, len(self._steps))
        self._debt = self._debt % TURN_WINDOWS if turns < len(self._steps) else 0
        states = []
        for block in np.argsort(self._steps, kind="stable")[:turns].tolist():
            states.append((block, self._step, _encode_block(bank, block, len(keys))))
            self._steps[block] = self._step
        values = self._step, learnt.encode(), _encode_priors(learnt.priors)
        return DetectorWrite(series, states, values, min(self._steps, default=0))

    def renumber(self) -> None:
        """The bank's series have other numbers from now on: the next step writes all of them anew."""
        self._is_renumbered = True

    def _whole(self, bank: SeriesBank, keys: Sequence[Key]) -> DetectorWrite:
        self._is_renumbered = False
        self._saved, self._debt = len(keys), 0
        self._steps = [self._step] * _blocks(len(keys))
        series = [(number, *key) for number, key in enumerate(keys)]
        states = [(block, self._step, _encode_block(bank, block, len(keys))) for block in range(len(self._steps))]
        return DetectorWrite(series, states, None, self._step, is_whole=True)

    def write(self, connection: Connection, rows: DetectorWrite) -> None:
        """Inside the transaction."""
        if rows.is_whole:
            for table in ("detector_series", "detector_states", "detector_values"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608
        connection.executemany("INSERT INTO detector_series VALUES (?, ?, ?, ?, ?)", rows.series)
        connection.executemany(_KEEP_STATE, rows.states)
        if rows.values is not None:
            connection.execute("INSERT INTO detector_values VALUES (?, ?, ?)", rows.values)
        if rows.states:
            connection.execute("DELETE FROM detector_values WHERE step <= ?", (rows.covered,))

    def write_whole(self, connection: Connection, bank: SeriesBank) -> None:
        """Inside a transaction: the states of all series, and no values any more."""
        rows = [(block, self._step, _encode_block(bank, block, self._saved)) for block in range(len(self._steps))]
        connection.executemany(_KEEP_STATE, rows)
        connection.execute("DELETE FROM detector_values")


def encode_rows(columns: NDArray[np.intp], rows: NDArray[np.float64]) -> bytes:
    """States of series as one Arrow message."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows).ravel()), rows.shape[1])
    return _message({"series": pa.array(columns.astype(np.int32)), "state": lists})


def decode_rows(body: bytes) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """What `encode_rows` wrote."""
    batch = pa.ipc.open_stream(body).read_next_batch()
    columns: NDArray[np.intp] = batch["series"].to_numpy().astype(np.intp)
    return columns, batch["state"].flatten().to_numpy().reshape(len(columns), -1)


def encode_values(starts_ns: NDArray[np.int64], columns: NDArray[np.intp], values: NDArray[np.float64]) -> bytes:
    """Values as one Arrow message: starts of windows, numbers of series, and values."""
    series = pa.array(columns.astype(np.int32))
    return _message({"start_ns": pa.array(starts_ns), "series": series, "value": pa.array(values)})


def decode_values(body: bytes) -> tuple[NDArray[np.int64], NDArray[np.intp], NDArray[np.float64]]:
    """What `encode_values` wrote."""
    batch = pa.ipc.open_stream(body).read_next_batch()
    starts_ns, columns, values = (batch[name].to_numpy() for name in ("start_ns", "series", "value"))
    return starts_ns, columns.astype(np.intp), values


def _encode_priors(priors: Sequence[Priors]) -> bytes | None:
    if not priors:
        return None
    return encode_rows(*(np.concatenate(part) for part in zip(*priors, strict=True)))


def _encode_block(bank: SeriesBank, block: int, series: int) -> bytes:
    columns = np.arange(block * BLOCK, min((block + 1) * BLOCK, series))
    return encode_rows(columns, bank.rows(columns))


def _message(columns: dict[str, pa.Array]) -> bytes:
    batch = pa.RecordBatch.from_pydict(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_OPTIONS) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _blocks(series: int) -> int:
    return -(-series // BLOCK)
