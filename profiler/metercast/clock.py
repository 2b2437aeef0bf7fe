"""Clocks of the profiler: thread CPU time, elapsed time, and the nominal frequency that turns CPU time into cycles."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

cpu_ns = time.thread_time_ns
"""CPU time of the calling thread in nanoseconds; a system call on Linux, so it is read once per boundary."""

elapsed_ns = time.perf_counter_ns
"""Monotonic elapsed time in nanoseconds, read from user space."""

SOURCE_THREAD_CLOCK = "thread-clock"

_BASE_FREQUENCY = "/sys/devices/system/cpu/cpu0/cpufreq/base_frequency"
_FALLBACK_HZ = 1_000_000_000


def epoch_offset_ns() -> int:
    """What to add to `elapsed_ns()` to get Unix time in nanoseconds; taken anew at every drain against drift."""
    before = time.perf_counter_ns()
    now = time.time_ns()
    return now - (before + time.perf_counter_ns()) // 2


def nominal_hz() -> int:
    """Nominal CPU frequency in Hz: METERCAST_NOMINAL_MHZ, the base frequency of Linux, the model name, or 1 GHz."""
    configured = os.environ.get("METERCAST_NOMINAL_MHZ")
    if configured:
        return int(float(configured) * 1e6)
    try:
        with open(_BASE_FREQUENCY, encoding="ascii") as file:
            return int(file.read()) * 1000
    except (OSError, ValueError):
        return _frequency_of_cpuinfo() or _FALLBACK_HZ


def cost_ns(clock: Callable[[], int]) -> float:
    """What one reading of a clock costs, in ns; the best of five series."""
    best = float("inf")
    for _ in range(5):
        started_ns = time.perf_counter_ns()
        for _ in range(200):
            clock()
        best = min(best, (time.perf_counter_ns() - started_ns) / 200)
    return best


def _frequency_of_cpuinfo() -> int:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.startswith("model name") and value.rstrip().endswith("GHz"):
                    return int(float(value.rsplit("@", 1)[-1].strip()[:-3]) * 1e9)
                if name.startswith("cpu MHz"):
                    return int(float(value) * 1e6)
    except (OSError, ValueError):
        pass
    return 0
