"""Group commit: batches that wait at the same time share one durable transaction, and memory has a bound."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from queue import Empty, SimpleQueue

from features.contracts import Batch, EventLog, Outcome, Receipt

_Waiting = tuple[Batch, "asyncio.Future[Receipt]"]


class OverloadedError(RuntimeError):
    """More is waiting than may be held; try again after ``retry_after_s``."""

    def __init__(self, held_bytes: int, retry_after_s: int = 1) -> None:
        super().__init__(f"{held_bytes} bytes are waiting to become durable; send again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class GroupCommitter:
    """Collects batches from requests and appends them to the log together; use it from one event loop.

    A thread of its own writes: while it commits a group, the next one gathers.
    """

    def __init__(self, log: EventLog, limit_bytes: int = 64 << 20, group: int = 256) -> None:
        """``limit_bytes`` bounds bodies being read and batches waiting together; ``group`` bounds one transaction."""
        self._log, self._limit_bytes, self._group = log, limit_bytes, group
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._held_bytes = 0
        self._thread: threading.Thread | None = None
        self.accepted_events = 0
        self.duplicate_events = 0

    def hold(self, size_bytes: int) -> None:
        """Hold memory for a body or a batch until `release`; raises OverloadedError when the bound would be passed.

        One that is larger than the bound gets through when it is alone.
        """
        if self._held_bytes and self._held_bytes + size_bytes > self._limit_bytes:
            raise OverloadedError(self._held_bytes)
        self._held_bytes += size_bytes

    def release(self, size_bytes: int) -> None:
        """Give back what `hold` took."""
        self._held_bytes -= size_bytes

    @contextlib.contextmanager
    def room(self, size_bytes: int) -> Iterator[None]:
        """`hold` for the length of a block."""
        self.hold(size_bytes)
        try:
            yield
        finally:
            self.release(size_bytes)

    def enqueue(self, batch: Batch) -> asyncio.Future[Receipt]:
        """What becomes of the batch, once that is durable; LogUnavailableError when it cannot become so."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="metercast-log", daemon=True)
            self._thread.start()
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.put((batch, future))
        return future

    async def submit(self, batch: Batch) -> Receipt:
        """`enqueue`, awaited; whoever hangs up meanwhile does not undo the commit."""
        return await asyncio.shield(self.enqueue(batch))

    def close(self) -> None:
        """Write what waits, and end."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _write(self) -> None:
        """The thread: groups of whatever waits, until `close`."""
        is_open = True
        while is_open:
            taken, is_open = self._next_group()
            if not taken:
                continue
            found: list[Receipt] | Exception
            try:
                found = self._log.append([batch for batch, _ in taken])
            except Exception as error:  # whoever waits is told
                found = error
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                taken[0][1].get_loop().call_soon_threadsafe(self._settle, taken, found)

    def _next_group(self) -> tuple[list[_Waiting], bool]:
        """Waits for a batch and takes what else is there; False once `close` was called."""
        taken: list[_Waiting] = []
        one = self._waiting.get()
        while one is not None:
            taken.append(one)
            if len(taken) == self._group:
                break
            try:
                one = self._waiting.get_nowait()
            except Empty:
                break
        return taken, one is not None

    def _settle(self, taken: list[_Waiting], found: list[Receipt] | Exception) -> None:
        for place, (batch, future) in enumerate(taken):
            if isinstance(found, Exception):
                if not future.done():
                    future.set_exception(found)
                    future.exception()  # whoever waited may have hung up; then nobody else looks
                continue
            self._count(batch, found[place])
            if not future.done():
                future.set_result(found[place])

    def _count(self, batch: Batch, receipt: Receipt) -> None:
        rows = batch.rows.num_rows
        if receipt.outcome is Outcome.ACCEPTED:
            self.accepted_events += rows - receipt.duplicate_rows
            self.duplicate_events += receipt.duplicate_rows
        elif receipt.outcome is Outcome.DUPLICATE:
            self.duplicate_events += rows
