"""What the Python engine has recorded: records one by one while there is room, totals beyond."""

from __future__ import annotations

import threading
import time

from metercast.event import MICRO_OPERATION_TYPES

_READS = [MICRO_OPERATION_TYPES.index(name) for name in ("DISK_READ", "MEMORY_READ")]
_WRITES = [MICRO_OPERATION_TYPES.index(name) for name in ("DISK_WRITE", "MEMORY_WRITE")]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from metercast.execution import ThreadState
    from metercast.totals import Key, Record


class Recording:
    """Records of all threads in the order of their ends, and the states of the threads that keep totals."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.states: list[ThreadState] = []
        self.is_on = False
        self.sums_up = False  # keep totals only, no records
        self.dropped = 0
        self._records: list[Record] = []
        self._taken = 0
        self._counted_in: memoryview | None = None
        self._counting = threading.RLock()  # reentrant: a signal handler may record as well
        self._attributed_of_ended_ns = 0
        self._calls_of_ended = 0
        self._moved_by_ended = [0] * len(MICRO_OPERATION_TYPES)

    def forget(self) -> None:
        """Drop everything recorded and every thread, as in a forked child."""
        self._records = []
        self.states = []
        self.dropped = 0
        self._attributed_of_ended_ns = self._calls_of_ended = 0
        self._moved_by_ended = [0] * len(MICRO_OPERATION_TYPES)

    def recorded(self) -> int:
        """Records so far, kept one by one or in totals."""
        summed = sum(total[0] for state in list(self.states) for total in list(state.totals.totals.values()))
        return self._taken + len(self._records) + int(summed)

    def count_into(self, numbers: memoryview | None) -> None:
        """Count each record, before it is kept, in the first of the numbers (unsigned, 64 bits); None: no more."""
        self._counted_in = numbers

    def pending(self) -> int:
        """How many records wait."""
        return len(self._records)

    def take(self, limit: int) -> list[Record]:
        """Remove and return at most ``limit`` of the oldest records; appending threads go on meanwhile."""
        taken = self._records[:limit]
        del self._records[: len(taken)]
        self._taken += len(taken)
        return taken

    def take_totals(self) -> list[tuple[Key, list[float]]]:
        """Totals since the last call of records that were not kept, by (user, operation, code, meter)."""
        grown: list[tuple[Key, list[float]]] = []
        for state in list(self.states):
            is_over = not state.thread.is_alive()
            grown += state.totals.take()
            if is_over:
                self._attributed_of_ended_ns += state.attributed_ns
                self._calls_of_ended += state.calls
                self._moved_by_ended = [a + b for a, b in zip(self._moved_by_ended, state.moved, strict=True)]
                self.states.remove(state)
        return grown

    def attributed_ns(self) -> int:
        """CPU ever charged to executions, with what running threads have used for theirs since their last boundary."""
        total_ns = self._attributed_of_ended_ns
        for state in list(self.states):
            total_ns += state.attributed_ns
            if state.charge is not None and state.thread.is_alive() and state.thread.ident is not None:
                clock = time.pthread_getcpuclockid(state.thread.ident)
                total_ns += max(0, time.clock_gettime_ns(clock) - state.cpu_mark - state.claimed_ns)
        return total_ns

    def calls(self) -> int:
        """Intercepted calls so far."""
        return self._calls_of_ended + sum(state.calls for state in list(self.states))

    def moved(self) -> tuple[int, int]:
        """Bytes that executions have (read, written) so far by calls which the kernel counts in /proc/PID/io."""
        columns = zip(self._moved_by_ended, *(state.moved for state in list(self.states)), strict=True)
        sums = [sum(column) for column in columns]
        return sum(sums[code] for code in _READS), sum(sums[code] for code in _WRITES)

    def _has_room(self) -> bool:
        """Whether the records of one charge may be appended as they are."""
        return self._keeps_uncounted() and len(self._records) + len(MICRO_OPERATION_TYPES) <= self.capacity

    def _keeps_uncounted(self) -> bool:
        """Whether records may go past `_append`: kept one by one, and nobody has them counted."""
        return self.is_on and not self.sums_up and self._counted_in is None

    def _adder(self, state: ThreadState) -> Callable[[Record], None]:
        return lambda record: self._append(state, record)

    def _append(self, state: ThreadState, record: Record) -> None:
        if not self.is_on:
            return
        if self._counted_in is not None:
            with self._counting:
                self._counted_in[0] += 1
        if self.sums_up:
            state.totals.add(record)
        elif len(self._records) < self.capacity:
            self._records.append(record)
        else:
            self.dropped += 1
            state.totals.add(record)
