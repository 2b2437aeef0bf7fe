"""Series get numbers: strings of events become positions in arrays, by a look-up in a table for each event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.window_rows import WindowRows
from features.windows import KEYS
from serving.engine.store import NewSeries
from serving.storage.window_table import shard_of

Key = tuple[str, str, str, str]
_WIDEST = 1 << 22
"""Tables of combinations grow to so many entries; beyond it combinations are counted out first."""


@dataclass(frozen=True, slots=True)
class SeriesIndex:
    """All series so far: number by key, and by number the key's names (blank where erased) and the shard."""

    numbers: Mapping[Key, int] = field(default_factory=dict)
    names: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=dict.fromkeys(KEYS, pl.String())))
    shards: NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))

    @classmethod
    def of(cls, series: Sequence[NewSeries], next_number: int) -> Self:
        """The index of a store's series."""
        names: list[Key] = [("", "", "", "")] * next_number
        shards = np.zeros(next_number, np.int16)
        for one in series:
            names[one.number], shards[one.number] = one.key, one.shard
        return cls({one.key: one.number for one in series}, _frame(names), shards)

    def __len__(self) -> int:
        """One more than the greatest number."""
        return len(self.shards)

    def number(self, events: pa.Table) -> tuple[NDArray[np.int32], SeriesIndex, list[NewSeries]]:
        """The series number of each event (columns `KEYS`), the index with the new series in it, and these."""
        codes, values = zip(*(_coded(events[name]) for name in KEYS), strict=True)
        combined, width = codes[0].astype(np.int64), len(values[0])
        for code, known in zip(codes[1:], values[1:], strict=True):
            if width * len(known) > _WIDEST:
                combined, width = _compact(combined)
            combined = combined * len(known) + code
            width *= len(known)
        if width > max(_WIDEST, len(combined)):
            combined, width = _compact(combined)
        event = np.full(width, -1, np.int64)
        event[combined] = np.arange(len(combined))  # one event of each combination that occurs
        present = np.flatnonzero(event >= 0)
        columns = [
            [known[code] for code in column[event[present]].tolist()]
            for column, known in zip(codes, values, strict=True)
        ]
        keys: list[Key] = list(zip(*columns, strict=True))
        index, new = self._with(keys)
        table = np.zeros(width, np.int32)
        table[present] = [index.numbers[key] for key in keys]
        return table[combined], index, new

    def numbered(self, windows: pl.DataFrame) -> tuple[WindowRows, SeriesIndex]:
        """Windows (columns of `features.windows.SCHEMA`) as an engine hands them to hooks, and the index with them."""
        ordered = windows.sort("window_start", *KEYS)
        keys = ordered.select(pl.col(KEYS).cast(pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())
        numbers, index, _ = self.number(keys)
        return WindowRows.of(ordered, numbers), index

    def _with(self, keys: list[Key]) -> tuple[SeriesIndex, list[NewSeries]]:
        unknown = sorted(key for key in keys if key not in self.numbers)
        if not unknown:
            return self, []
        new = [NewSeries(len(self) + place, shard_of(key[0]), key) for place, key in enumerate(unknown)]
        numbers = {**self.numbers, **{one.key: one.number for one in new}}
        shards = np.concatenate([self.shards, np.array([one.shard for one in new], np.int16)])
        return SeriesIndex(numbers, pl.concat([self.names, _frame(unknown)]), shards), new


def _frame(keys: Sequence[Key]) -> pl.DataFrame:
    return pl.DataFrame(keys, schema=dict.fromkeys(KEYS, pl.String()), orient="row")


def _coded(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    encoded = pc.dictionary_encode(column).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no event at all
        return np.empty(0, np.int32), []
    return encoded.indices.to_numpy(), encoded.dictionary.to_pylist()


def _compact(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    encoded = pc.dictionary_encode(pa.array(codes))
    return encoded.indices.to_numpy().astype(np.int64), len(encoded.dictionary)
