"""Turns of processes: what must not be done by two commands at once, as making a store, waits for the other."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

PATIENCE_S = 300.0
FILE = ".turn"


@contextmanager
def turn(directory: Path) -> Iterator[None]:
    """Within it no other process has its turn in this directory; raises TimeoutError after `PATIENCE_S`.

    SQLite's lock of an empty file: the system takes it back from a process that was killed, on every platform.
    """
    with closing(sqlite3.connect(directory / FILE, timeout=PATIENCE_S, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise TimeoutError(
                f"another command has been making a store in {directory} for {PATIENCE_S:g} s; wait for it, or end it"
            ) from error
        yield
