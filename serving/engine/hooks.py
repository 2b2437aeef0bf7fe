"""What may be hung into the engine: code that sees windows as they close, and commits with their step."""

from __future__ import annotations

from typing import Protocol

import polars as pl

from features.database import Connection
from features.window_rows import WindowRows


class WindowHook(Protocol):
    """Sees closed windows and keeps its state in tables of the same database, so that both commit together.

    The step's transaction keeps all other writers out, ingest with them: so `closed` computes before it begins, and
    `write` does no more inside it than write.

    ``window_s`` is the one length of windows it is called for; others are not read.
    """

    window_s: int

    def closed(self, window_s: int, rows: WindowRows, names: pl.DataFrame, connection: Connection) -> None:
        """Take in windows of its length, sorted by start; an error undoes the whole step.

        Row k of ``names`` holds the key (`features.windows.KEYS`) of series k; ``rows.frame(names)`` shows both as one
        table. A number means the same series until `rolled_back`. Comes before the transaction: ``connection`` is
        there to read what was committed. What is to be written is kept for `write`.
        """
        ...

    def write(self, connection: Connection) -> None:
        """Inside the transaction, after `closed`: write what it found; an error undoes the whole step."""
        ...

    def rolled_back(self) -> None:
        """The step was undone, before or after `write`: forget what was learnt in it and what waits to be written."""
        ...
