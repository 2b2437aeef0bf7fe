"""What may be hung into the engine: code that sees windows as they close, inside the transaction that closes them."""

from __future__ import annotations

from typing import Protocol

import polars as pl

from features.database import Connection


class WindowHook(Protocol):
    """Sees closed windows and keeps its state in tables of the same database, so that both commit together.

    ``window_s`` is the one length of windows it is called for; others are not read.
    """

    window_s: int

    def closed(self, window_s: int, rows: pl.DataFrame, connection: Connection) -> None:
        """Take in windows of its length (columns of `features.windows.SCHEMA`); an error undoes the whole step."""
        ...

    def rolled_back(self) -> None:
        """The transaction was undone: forget what was learnt in it."""
        ...
