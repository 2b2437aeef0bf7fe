"""The engine's state and windows in a database, a file or a server: the `EngineStore` of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from features.database import Connection, Location, connect, is_server
from features.stored_windows import create, next_number
from features.window_rows import WindowRows
from features.windows import KEYS
from serving.engine.store import Checkpoint, FencedError, Kept, NewSeries
from serving.storage import window_table
from serving.storage.erasure import ERASURES, last_erasure
from serving.storage.gathered import Gathered

ENGINE_LOCK = 0x6D657465_03
"""PostgreSQL's advisory lock of the one worker that runs."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS engine (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER, state TEXT)",
    "CREATE TABLE IF NOT EXISTS baselines (shard INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    ERASURES,
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A step's checkpoint with its windows encoded: open ones (length, rows, whether they replace all), and chunks."""

    checkpoint: Checkpoint
    opened: Sequence[tuple[int, bytes | None, bool]]
    chunks: Sequence[window_table.Chunk]


class DatabaseEngineStore:
    """See `serving.engine.store.EngineStore`."""

    def __init__(self, location: Location) -> None:
        """Open the database, making its tables where they are missing."""
        self._connection = connect(location)
        self.is_shared = is_server(location)
        self._epoch = 0
        self._gathered: Gathered | None = None
        create(self._connection)
        for table in _TABLES:
            self._connection.execute(table)

    def lead(self) -> bool:
        """Whether this worker may run: on a server one may, until its connection ends; a file takes the latest."""
        if not self.is_shared:
            return True
        return bool(self._connection.execute("SELECT pg_try_advisory_lock(?)", (ENGINE_LOCK,)).fetchone()[0])

    def take_over(self) -> None:
        """Take a new fencing epoch: from here on, whoever had taken over before fails to write."""
        self._gathered = None
        with self.transaction() as connection:
            row = connection.execute("SELECT epoch FROM engine").fetchone()
            self._epoch = (row[0] if row else 0) + 1
            connection.execute(
                "INSERT INTO engine VALUES (1, ?, NULL) ON CONFLICT (id) DO UPDATE SET epoch = excluded.epoch",
                (self._epoch,),
            )

    def load(self) -> Kept:
        """The state as it was last committed, in one snapshot."""
        connection = self._connection
        connection.execute("BEGIN")
        try:
            row = connection.execute("SELECT state FROM engine").fetchone()
            found = connection.execute(f"SELECT series_id, shard, {', '.join(KEYS)} FROM series ORDER BY series_id")  # noqa: S608
            series = [NewSeries(number, shard, (user, operation, micro, meter))
                      for number, shard, user, operation, micro, meter in found]  # fmt: skip
            opened: dict[int, list[WindowRows]] = {}
            for window_s, body in connection.execute("SELECT window_s, body FROM open_windows ORDER BY chunk_id"):
                opened.setdefault(window_s, []).append(WindowRows.decode(body))
            baselines = dict(connection.execute("SELECT shard, body FROM baselines").fetchall())
            return Kept(row[0] if row else None, next_number(connection), series, opened, baselines)
        finally:
            connection.execute("ROLLBACK")

    def last_erasure(self) -> int:
        """Number of the latest erasure of a person's data, 0 before the first."""
        return last_erasure(self._connection)

    def reader(self) -> Connection:
        """The connection for hooks to read by before `transaction`; it holds up nobody."""
        return self._connection

    def prepared(self, checkpoint: Checkpoint) -> Prepared:
        """What `write` is to write of a step, computed and encoded before its transaction."""
        opened = [
            (write.window_s, write.opened.encode() if len(write.opened) else None, write.replaces_open)
            for write in checkpoint.windows
        ]
        chunks = [
            window_table.chunk(write.window_s, shard, rows)
            for write in checkpoint.windows
            for shard, rows in write.closed.items()
            if len(rows)
        ]
        return Prepared(checkpoint, opened, chunks)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction, committed durably at its end or undone by an exception; gives the connection for hooks."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    def write(self, step: Prepared) -> None:
        """Inside `transaction`: everything of a step; raises FencedError when another worker has taken over."""
        connection, checkpoint = self._connection, step.checkpoint
        update = "UPDATE engine SET state = ? WHERE id = 1 AND epoch = ?"
        if connection.execute(update, (checkpoint.document, self._epoch)).rowcount != 1:
            raise _fenced()
        window_table.add_series(connection, ((one.number, one.shard, *one.key) for one in checkpoint.new_series))
        for window_s, body, replaces in step.opened:
            window_table.keep_open(connection, window_s, body, replaces)
        window_table.keep_chunks(connection, step.chunks)
        connection.executemany(
            "INSERT INTO baselines VALUES (?, ?) ON CONFLICT (shard) DO UPDATE SET body = excluded.body",
            checkpoint.baselines.items(),
        )

    def tidy(self, step: Prepared) -> None:
        """After a step was committed: merge what has gathered, in transactions of their own."""
        if self._gathered is None:
            self._gathered = Gathered(self._connection)
        else:
            self._gathered.add((chunk[0], chunk[1], chunk[5]) for chunk in step.chunks)
        self._gathered.merge(self._connection, self._own_transaction)

    @contextmanager
    def _own_transaction(self) -> Iterator[Connection]:
        with self.transaction() as connection:
            if connection.execute("SELECT epoch FROM engine").fetchone()[0] != self._epoch:
                raise _fenced()
            yield connection

    def close(self) -> None:
        """Release the database, and the right to lead."""
        self._connection.close()


def _fenced() -> FencedError:
    return FencedError("another engine has taken over this data directory; stop one of the two servers")
