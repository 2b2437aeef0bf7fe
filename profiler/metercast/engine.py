"""The pure Python engine: charges CPU and waiting time to the operation at hand, boundary by boundary.

Each thread has one mark: the clocks at its last boundary. A boundary (an operation opens or closes, an intercepted call
ends, an event loop changes task) reads the thread clock once and charges everything since the mark, so what is charged
adds up to the thread's CPU time exactly. Inside an intercepted call the elapsed clock, which is far cheaper, tells the
computing before the call from the call itself.
"""

from __future__ import annotations

import contextvars
import os
import threading
import time

from metercast.event import MICRO_OPERATION_TYPES
from metercast.execution import Charge, Execution
from metercast.totals import Totals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.totals import Key, Record

CODE = {name: code for code, name in enumerate(MICRO_OPERATION_TYPES)}
CPU_INSTRUCTION = CODE["CPU_INSTRUCTION"]
WAIT = CODE["WAIT"]
CUSTOM = CODE["CUSTOM"]

EXECUTIONS = "executions"
"""The meter of runs: the last CPU record of each carries one unit of it."""

CONTRACT = 2
"""Version of what hooks and shipper expect of an engine; a compiled one of another version is not used."""

SHORT_NS = 10_000
"""A call shorter than this is charged its elapsed time; the next boundary takes that from what the clock says."""

cpu_clock = time.thread_time_ns
elapsed_clock = time.perf_counter_ns


class ThreadState(threading.local):
    """What the engine knows of one thread: its mark, whom it charges now, and the totals it had no room for."""

    def __init__(self, engine: Engine) -> None:
        self.charge: Charge | None = None
        self.cpu_mark = 0
        self.claimed_ns = 0
        self.elapsed_mark = 0
        self.is_muted = False
        self.totals = Totals()
        engine._totals.append((threading.current_thread(), self.totals))


class Engine:
    """Records micro-operations of this process; see the module's docstring for how CPU time is charged."""

    def __init__(self, capacity: int = 65_536) -> None:
        self.capacity = capacity
        self._records: list[Record] = []
        self._totals: list[tuple[threading.Thread, Totals]] = []
        self.current: contextvars.ContextVar[Execution | None] = contextvars.ContextVar("metercast", default=None)
        self.user: contextvars.ContextVar[str] = contextvars.ContextVar("metercast_user", default="")
        self.default_user = "unknown"
        self.user_headers: tuple[str, ...] = ("X-Metercast-User", "X-User")
        self.is_on = False
        self.sums_up = False  # keep totals only, no records
        self.dropped = 0
        self.tick = 0
        self.state = ThreadState(self)
        self.seed_numbers()

    def seed_numbers(self) -> None:
        """Start execution numbers at a random place, so that processes (also after a fork) do not share them."""
        self._number = int.from_bytes(os.urandom(4), "big") >> 1 << 32

    def reset_after_fork(self) -> None:
        """In a forked child: forget what the parent will ship and take other execution numbers."""
        self._records = []
        self.dropped = 0
        self._totals = []
        self.state = ThreadState(self)
        self.seed_numbers()
        execution = ancestor = self.current.get()
        while ancestor is not None:
            ancestor.charge = Charge(ancestor, self.state.totals, self.tick)
            ancestor = ancestor.parent
        self.switch(execution)

    def open(self, operation: str, user: str = "", is_root: bool = False) -> Execution:
        """Open an execution below the current one and charge this thread's time to it."""
        parent = self.current.get()
        if not user:
            user = self.user.get() or (parent.user if parent is not None else self.default_user)
        self._number += 1
        execution = Execution(self._number, operation, user, parent, is_root)
        self._settle()
        state = self.state
        left = state.charge
        if left is not None and (left.execution is not parent or parent.charge is not left):
            self._leave(left)
        execution.charge = state.charge = Charge(execution, state.totals, self.tick)
        return execution

    def close(self, execution: Execution) -> None:
        """Record what the execution has used, counted as one more run of it, and charge its parent again."""
        state = self.state
        self._settle()
        execution.is_open = False
        charge = execution.charge
        cpu_ns = 0
        if charge is not None:
            cpu_ns, charge.cpu_ns = charge.cpu_ns, 0
            self._record_charge(charge)
        now_ns = state.elapsed_mark
        self._append((now_ns, execution, CPU_INSTRUCTION, cpu_ns, 0, 0, 0, cpu_ns, 1.0, EXECUTIONS))
        if state.charge is not None and state.charge is not charge:
            self._leave(state.charge)
        state.charge = None
        parent = execution.parent
        if parent is not None and parent.is_open:
            self._charge_to(parent)

    def enter(self, operation: str, user: str = "") -> Execution:
        """Open an execution and make it the current one of this context."""
        outer = self.current.get()
        execution = self.open(operation, user)
        execution.outer = outer
        self.current.set(execution)
        return execution

    def leave(self, execution: Execution) -> None:
        """Close an execution and make current what was before it, if it ends in the context that it began in."""
        self.close(execution)
        outer, execution.outer = execution.outer, None
        if self.current.get() is execution:
            self.current.set(outer)

    def switch(self, execution: Execution | None) -> None:
        """Charge this thread's time to another execution from now on (None: to nobody), as a task switch does."""
        state = self.state
        self._settle()
        if state.charge is not None:
            self._leave(state.charge)
        state.charge = None
        if execution is not None:
            self._charge_to(execution)

    def resume(self, execution: Execution) -> None:
        """Go on with a paused execution, as a generator does; the pause was its caller's, hence not its waiting."""
        state = self.state
        self._settle()
        left = state.charge
        parent = execution.parent
        if left is not None and (parent is None or left is not parent.charge):
            self._leave(left)
        if execution.charge is not None:
            execution.charge.suspended_ns = 0
        self._charge_to(execution)

    def after_call(self, code: int, started_ns: int, memory: int = 0, network: int = 0, disk: int = 0) -> None:
        """Record an intercepted call that began at ``started_ns`` (elapsed clock) and ends now; sizes in bytes."""
        execution = self.current.get()
        state = self.state
        if execution is None or state.is_muted:
            return
        charge = state.charge
        if charge is None or charge.execution is not execution:
            self.switch(execution)
            charge = state.charge
            started_ns = state.elapsed_mark
            assert charge is not None
        now_ns = elapsed_clock()
        call_ns = now_ns - started_ns
        if call_ns < SHORT_NS:
            state.claimed_ns += call_ns
        else:
            before_ns = started_ns - state.elapsed_mark - state.claimed_ns
            earlier_ns = charge.cpu_ns
            self._settle()
            cpu_ns = charge.cpu_ns - earlier_ns
            call_ns = max(0, cpu_ns - max(0, before_ns))  # a boundary inside the call leaves nothing before it
            charge.cpu_ns -= call_ns
        if code == WAIT:
            charge.cpu_ns += call_ns
        else:
            self._append((now_ns, execution, code, call_ns, memory, network, disk, call_ns, 0.0, ""))
        if charge.tick != self.tick:
            self._record_charge(charge)

    def count(self, execution: Execution, meter: str, units: float) -> None:
        """Record an amount of a meter of the program's own."""
        self._append((elapsed_clock(), execution, CUSTOM, 0, 0, 0, 0, 0, units, meter))

    def claim(self, execution: Execution, code: int, network: int) -> None:
        """Record bytes that were read before it was known which execution they belong to."""
        self._append((elapsed_clock(), execution, code, 0, 0, network, 0, 0, 0.0, ""))

    def checkpoint(self) -> None:
        """Record what this thread's open executions have used so far, as before a flush or the end of the process."""
        state = self.state
        self._settle()
        if state.charge is not None:
            self._record_charge(state.charge)
        execution = self.current.get()
        while execution is not None:
            charge = execution.charge
            if charge is not None and charge.owner is state.totals and execution.is_open:
                self._record_charge(charge)
            execution = execution.parent

    def charged(self) -> Execution | None:
        """The execution that this thread's time is charged to now."""
        charge = self.state.charge
        return charge.execution if charge is not None else None

    def mute(self) -> None:
        """Record nothing of this thread, ever."""
        self.state.is_muted = True

    def intercept(self) -> bool:
        """Intercept below the interpreter, and in libraries loaded since; this engine cannot."""
        return False

    def calls(self) -> int:
        """Calls so far that made no record of their own; here each makes one."""
        return 0

    def pending(self) -> int:
        """How many records wait."""
        return len(self._records)

    def take(self, limit: int) -> list[Record]:
        """Remove and return at most ``limit`` of the oldest records; appending threads go on meanwhile."""
        taken = self._records[:limit]
        del self._records[: len(taken)]
        return taken

    def take_totals(self) -> list[tuple[Key, list[float]]]:
        """Totals since the last call of records that were not kept, by (user, operation, code, meter)."""
        grown: list[tuple[Key, list[float]]] = []
        for thread, totals in list(self._totals):
            is_over = not thread.is_alive()
            grown += totals.take()
            if is_over:
                self._totals.remove((thread, totals))
        return grown

    def _settle(self) -> None:
        """Charge the time since the mark to whoever the thread works for, and set the mark to now."""
        state = self.state
        now_ns = elapsed_clock()
        cpu_now = cpu_clock()
        charge = state.charge
        if charge is not None:
            cpu_ns = cpu_now - state.cpu_mark
            wait_ns = now_ns - state.elapsed_mark - cpu_ns
            cpu_ns -= state.claimed_ns
            state.claimed_ns = max(0, -cpu_ns)  # calls that were preempted claimed too much: what follows pays it back
            charge.cpu_ns += max(0, cpu_ns)
            if wait_ns > 0:
                charge.wait_ns += wait_ns
        else:
            state.claimed_ns = 0
        state.cpu_mark = cpu_now
        state.elapsed_mark = now_ns

    def _charge_to(self, execution: Execution) -> None:
        state = self.state
        charge = execution.charge
        if charge is None or charge.owner is not state.totals or not execution.is_open:
            charge = Charge(execution, state.totals, self.tick)
        state.charge = charge
        if charge.suspended_ns:
            charge.wait_ns += max(0, state.elapsed_mark - charge.suspended_ns)
            charge.suspended_ns = 0

    def _leave(self, charge: Charge) -> None:
        """The thread turns to something else: an open execution of its own waits, anything else is recorded now."""
        execution = charge.execution
        if execution.is_open and execution.charge is charge:
            charge.suspended_ns = self.state.elapsed_mark
        else:
            self._record_charge(charge)

    def _record_charge(self, charge: Charge) -> None:
        charge.tick = self.tick
        now_ns = self.state.elapsed_mark
        cpu_ns, charge.cpu_ns = charge.cpu_ns, 0
        wait_ns, charge.wait_ns = charge.wait_ns, 0
        if cpu_ns:
            self._append((now_ns, charge.execution, CPU_INSTRUCTION, cpu_ns, 0, 0, 0, cpu_ns, 0.0, ""))
        if wait_ns:
            self._append((now_ns, charge.execution, WAIT, 0, 0, 0, 0, wait_ns, 0.0, ""))

    def _append(self, record: Record) -> None:
        if not self.is_on:
            return
        if self.sums_up:
            self.state.totals.add(record)
        elif len(self._records) < self.capacity:
            self._records.append(record)
        else:
            self.dropped += 1
            self.state.totals.add(record)
