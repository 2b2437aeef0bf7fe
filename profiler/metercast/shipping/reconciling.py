"""Compares what was charged to operations with what the kernel counted for the whole process.

CPU: the process clock. Disk and pipes: /proc/self/io, which counts every read and write (but no send and recv).
Network: TCP_INFO of each connection, which the compiled engine compares when it is closed, and until then
at flushes.
What the kernel counted and nobody was charged for is UNATTRIBUTED: threads that work for no operation, those that C
libraries start, system calls that no hook sees. The shipping thread's own part is left out: it is PROFILER_SELF.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.engine import Engine

CPU, READ, WRITTEN = "unattributed_cpu", "unattributed_read", "unattributed_written"
RECEIVED, SENT = "unattributed_received", "unattributed_sent"
"""Meters of UNATTRIBUTED events, one a resource."""
SOURCES = {
    CPU: "process-clock",
    READ: "/proc/self/io",
    WRITTEN: "/proc/self/io",
    RECEIVED: "TCP_INFO",
    SENT: "TCP_INFO",
}
"""What of the kernel's each of them rests on."""


class Reconciliation:
    """Asked by the shipping thread; differences below zero wait for what they run ahead of.

    Made by it too, or, with ``before_thread``, before it has started: then nothing moves between the two readings that
    all later ones are compared with.
    """

    def __init__(self, engine: Engine, before_thread: bool = False) -> None:
        self._engine = engine
        self._start = self._unexplained(has_thread=not before_thread)
        self._told = dict.fromkeys(SOURCES, 0)

    def grown(self, least_cpu_ns: int = 0, is_ending: bool = False) -> dict[str, int]:
        """What has become unattributed since the last call: CPU ns and bytes; only what is above zero.

        Below so much CPU nothing is told yet, and the next call tells it. ``is_ending``: there is none.
        """
        now, grown = self._unexplained(is_ending=is_ending), {}
        if now[CPU] - self._start[CPU] - self._told[CPU] < least_cpu_ns:
            return {}
        for meter, told in self._told.items():
            difference = now[meter] - self._start[meter] - told
            if difference > 0:
                grown[meter] = difference
                self._told[meter] += difference
        return grown

    def _unexplained(self, has_thread: bool = True, is_ending: bool = False) -> dict[str, int]:
        """What the kernel counted since the process began, less what is explained."""
        attributed_ns = self._engine.attributed_ns()
        cpu_ns = time.process_time_ns() - (time.thread_time_ns() if has_thread else 0) - attributed_ns
        own = _io_of("thread-self") if has_thread else (0, 0, 0)
        whole = _io_of("self")  # which has the reading of the first in it
        read, written = self._engine.moved()  # last: what moves meanwhile is told too late rather than twice
        received, sent = self._engine.unexplained(is_ending)
        return {
            CPU: cpu_ns,
            READ: whole[0] - own[0] - own[2] - read,
            WRITTEN: whole[1] - own[1] - written,
            RECEIVED: received,
            SENT: sent,
        }


def _io_of(task: str) -> tuple[int, int, int]:
    """Bytes (read, written) by system calls of a task, and those of asking; zero where /proc does not tell."""
    try:
        descriptor = os.open(f"/proc/{task}/io", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0, 0, 0
    try:
        text = os.read(descriptor, 256)
    finally:
        os.close(descriptor)
    fields = text.split(None, 4)
    return int(fields[1]), int(fields[3]), len(text)
