"""One run of an operation, what a thread has spent for it, and what the Python engine knows of a thread."""

from __future__ import annotations

import threading

from metercast.event import MICRO_OPERATION_TYPES
from metercast.totals import Totals


class Execution:
    """One run of an operation; `charge` is what its own thread still has to record for it."""

    __slots__ = ("charge", "id", "is_open", "is_root", "operation", "parent", "parent_id", "user")

    def __init__(self, number: int, operation: str, user: str, parent: Execution | None, is_root: bool) -> None:
        self.id = number
        self.operation = operation
        self.user = user
        self.parent = parent
        self.parent_id = parent.id if parent is not None else 0
        self.is_open = True
        self.is_root = is_root
        self.charge: Charge | None = None


class Charge:
    """CPU and waiting time that one thread has spent for one execution and not recorded yet.

    ``calls`` holds, per type code, [CPU ns, memory, network, disk bytes] of the intercepted calls.
    """

    __slots__ = ("calls", "cpu_ns", "execution", "owner", "suspended_ns", "tick", "wait_ns")

    def __init__(self, execution: Execution, owner: ThreadState, tick: int) -> None:
        self.execution = execution
        self.owner = owner
        self.cpu_ns = 0
        self.wait_ns = 0
        self.suspended_ns = 0
        self.tick = tick
        self.calls: dict[int, list[int]] = {}


class ThreadState:
    """What the engine knows of one thread: its marks, whom it charges now, and the totals it had no room for."""

    __slots__ = (
        "attributed_ns",
        "calls",
        "charge",
        "charged",
        "claimed_new_ns",
        "claimed_ns",
        "cpu_mark",
        "elapsed_mark",
        "is_muted",
        "moved",
        "thread",
        "totals",
    )

    def __init__(self, elapsed_ns: int, cpu_ns: int) -> None:
        self.thread = threading.current_thread()
        self.charge: Charge | None = None
        self.charged: Execution | None = None
        self.elapsed_mark = elapsed_ns
        self.cpu_mark = cpu_ns
        self.claimed_ns = 0
        """CPU since `cpu_mark` that short spans have claimed by their elapsed time."""
        self.claimed_new_ns = 0
        """That part of it which calls have claimed since `elapsed_mark`."""
        self.attributed_ns = 0
        """CPU ever charged to an execution."""
        self.calls = 0
        self.moved = [0] * len(MICRO_OPERATION_TYPES)
        """Bytes of files and pipes by type code, as the kernel counts them too."""
        self.is_muted = False
        self.totals = Totals()
