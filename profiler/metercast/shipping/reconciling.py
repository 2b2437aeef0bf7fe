"""Compares what was charged to operations with what the kernel counted for the whole process.

CPU: the process clock. Disk and pipes: /proc/self/io, which counts every read and write (but no send and recv).
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
"""Meters of UNATTRIBUTED events, one a resource."""


class Reconciliation:
    """Made and asked by the shipping thread; differences below zero wait for what they run ahead of."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._start = self._unexplained()
        self._told = dict.fromkeys((CPU, READ, WRITTEN), 0)

    def grown(self) -> dict[str, int]:
        """What has become unattributed since the last call: CPU ns, bytes read and written; only what is above zero."""
        now, grown = self._unexplained(), {}
        for meter, told in self._told.items():
            difference = now[meter] - self._start[meter] - told
            if difference > 0:
                grown[meter] = difference
                self._told[meter] += difference
        return grown

    def _unexplained(self) -> dict[str, int]:
        """What the kernel counted since the process began, less what is explained."""
        attributed_ns = self._engine.attributed_ns()
        cpu_ns = time.process_time_ns() - time.thread_time_ns() - attributed_ns
        read, written = self._engine.moved()
        whole, own = _io_of("self"), _io_of("thread-self")
        return {CPU: cpu_ns, READ: whole[0] - own[0] - read, WRITTEN: whole[1] - own[1] - written}


def _io_of(task: str) -> tuple[int, int]:
    """Bytes (read, written) by system calls of a task; zero where /proc does not tell."""
    try:
        descriptor = os.open(f"/proc/{task}/io", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0, 0
    try:
        fields = os.read(descriptor, 256).split(None, 4)
    finally:
        os.close(descriptor)
    return int(fields[1]), int(fields[3])
