"""Group commit: batches that wait at the same time share one durable transaction."""

from __future__ import annotations

import asyncio
from collections import deque

from features.contracts import Batch, EventLog, Outcome


class OverloadedError(RuntimeError):
    """More is waiting than may be held; try again after ``retry_after_s``."""

    def __init__(self, waiting_bytes: int, retry_after_s: int = 1) -> None:
        super().__init__(f"{waiting_bytes} bytes are waiting to become durable; send again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class GroupCommitter:
    """Collects batches from requests and appends them to the log together; use it from one event loop."""

    def __init__(self, log: EventLog, limit_bytes: int = 64 << 20, group: int = 256) -> None:
        """``limit_bytes`` bounds what may wait; ``group`` bounds one transaction."""
        self._log, self._limit_bytes, self._group = log, limit_bytes, group
        self._waiting: deque[tuple[Batch, asyncio.Future[Outcome]]] = deque()
        self._waiting_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self.accepted_events = 0
        self.duplicate_events = 0

    async def submit(self, batch: Batch) -> Outcome:
        """Return what became of the batch once that is durable; raises OverloadedError before memory grows."""
        if self._waiting_bytes + batch.rows.nbytes > self._limit_bytes:
            raise OverloadedError(self._waiting_bytes)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, future))
        self._waiting_bytes += batch.rows.nbytes
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        outcome = await asyncio.shield(future)  # a client that hangs up does not undo the commit
        if outcome is Outcome.ACCEPTED:
            self.accepted_events += batch.rows.num_rows
        elif outcome is Outcome.DUPLICATE:
            self.duplicate_events += batch.rows.num_rows
        return outcome

    async def _drain(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(self._group, len(self._waiting)))]
            try:
                outcomes = await asyncio.to_thread(self._log.append, [batch for batch, _ in taken])
            except Exception as error:
                for _, future in taken:
                    future.set_exception(error)
            else:
                for (_, future), outcome in zip(taken, outcomes, strict=True):
                    future.set_result(outcome)
            self._waiting_bytes -= sum(batch.rows.nbytes for batch, _ in taken)
