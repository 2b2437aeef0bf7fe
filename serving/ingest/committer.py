"""Group commit: batches that wait at the same time share one durable transaction, and memory has a bound."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from features.contracts import Batch, EventLog, Outcome, Receipt


class OverloadedError(RuntimeError):
    """More is waiting than may be held; try again after ``retry_after_s``."""

    def __init__(self, held_bytes: int, retry_after_s: int = 1) -> None:
        super().__init__(f"{held_bytes} bytes are waiting to become durable; send again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class GroupCommitter:
    """Collects batches from requests and appends them to the log together; use it from one event loop."""

    def __init__(self, log: EventLog, limit_bytes: int = 64 << 20, group: int = 256) -> None:
        """``limit_bytes`` bounds bodies being read and batches waiting together; ``group`` bounds one transaction."""
        self._log, self._limit_bytes, self._group = log, limit_bytes, group
        self._waiting: deque[tuple[Batch, asyncio.Future[Receipt]]] = deque()
        self._held_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self.accepted_events = 0
        self.duplicate_events = 0

    @contextmanager
    def room(self, size_bytes: int) -> Iterator[None]:
        """Hold memory for a body or a batch; raises OverloadedError when the bound would be passed.

        One that is larger than the bound gets through when it is alone.
        """
        if self._held_bytes and self._held_bytes + size_bytes > self._limit_bytes:
            raise OverloadedError(self._held_bytes)
        self._held_bytes += size_bytes
        try:
            yield
        finally:
            self._held_bytes -= size_bytes

    async def submit(self, batch: Batch) -> Receipt:
        """Return what became of the batch once that is durable; raises LogUnavailableError when it cannot become so."""
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        receipt = await asyncio.shield(future)  # a client that hangs up does not undo the commit
        rows = batch.rows.num_rows
        if receipt.outcome is Outcome.ACCEPTED:
            self.accepted_events += rows - receipt.duplicate_rows
            self.duplicate_events += receipt.duplicate_rows
        elif receipt.outcome is Outcome.DUPLICATE:
            self.duplicate_events += rows
        return receipt

    async def _drain(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(self._group, len(self._waiting)))]
            try:
                receipts = await asyncio.to_thread(self._log.append, [batch for batch, _ in taken])
            except Exception as error:
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                    future.exception()  # whoever waited may have hung up; then nobody else looks
            else:
                for (_, future), receipt in zip(taken, receipts, strict=True):
                    if not future.done():
                        future.set_result(receipt)
