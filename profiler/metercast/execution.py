"""One run of an operation, and what a thread has spent for it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.totals import Totals


class Execution:
    """One run of an operation; `charge` is what its own thread still has to record for it."""

    __slots__ = ("charge", "id", "is_open", "is_root", "operation", "outer", "parent", "parent_id", "user")

    def __init__(self, number: int, operation: str, user: str, parent: Execution | None, is_root: bool) -> None:
        self.id = number
        self.operation = operation
        self.user = user
        self.parent = parent
        self.parent_id = parent.id if parent is not None else 0
        self.is_open = True
        self.is_root = is_root
        self.charge: Charge | None = None
        self.outer: Execution | None = None


class Charge:
    """CPU and waiting time that one thread has spent for one execution and not recorded yet."""

    __slots__ = ("cpu_ns", "execution", "owner", "suspended_ns", "tick", "wait_ns")

    def __init__(self, execution: Execution, owner: Totals, tick: int) -> None:
        self.execution = execution
        self.owner = owner
        self.cpu_ns = 0
        self.wait_ns = 0
        self.suspended_ns = 0
        self.tick = tick
