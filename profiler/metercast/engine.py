"""The pure Python engine: charges CPU and waiting time to the operation at hand, boundary by boundary.

Each thread has one mark: the clocks at its last boundary. A boundary (an operation opens or closes, an intercepted call
ends, an event loop changes task) charges everything since the mark, by the thread clock, which is a system call. A span
below `SHORT_NS` is charged its elapsed time instead; the next reading takes that from what the clock says, so that all
that is charged adds up to the thread's CPU time exactly. Inside an intercepted call the elapsed clock tells the
computing before the call from the call itself.

Calls are added up per execution and type and recorded when the execution ends or has been open for long.
"""

from __future__ import annotations

import contextvars
import errno
import os

from metercast.charging import CODE, CPU_INSTRUCTION, STALE_TICKS, Charging, elapsed_clock
from metercast.clock import SOURCE_THREAD_CLOCK
from metercast.execution import Charge, Execution
from metercast.totals import EXECUTIONS

__all__ = ["CODE", "CONTRACT", "Engine"]

CONTRACT = 4
"""Version of what hooks and shipper expect of an engine; a compiled one of another version is not used."""

CUSTOM = CODE["CUSTOM"]


class Engine(Charging):
    """Records micro-operations of this process; see the module's docstring for how CPU time is charged."""

    def __init__(self, capacity: int = 65_536) -> None:
        super().__init__(capacity)
        self.current: contextvars.ContextVar[Execution | None] = contextvars.ContextVar("metercast", default=None)
        self.user: contextvars.ContextVar[str] = contextvars.ContextVar("metercast_user", default="")
        self.default_user = "unknown"
        self.source = SOURCE_THREAD_CLOCK
        self.user_headers: tuple[str, ...] = ("X-Metercast-User", "X-User")
        self.seed_numbers()

    def seed_numbers(self) -> None:
        """Start execution numbers at a random place, so that processes (also after a fork) do not share them."""
        self._number = int.from_bytes(os.urandom(4), "big") >> 1 << 32

    def reset_after_fork(self) -> None:
        """In a forked child: forget what the parent will ship and take other execution numbers."""
        self.forget()
        self.local.__dict__.pop("state", None)
        state = self.state_of_thread()
        self.seed_numbers()
        execution = ancestor = self.current.get()
        while ancestor is not None:
            ancestor.charge = Charge(ancestor, state, self.tick)
            ancestor = ancestor.parent
        self.switch(execution)

    def enter(self, operation: str, user: str = "") -> Execution:
        """Open an execution below the current one, charge this thread's time to it and make it the current one."""
        outer = self.current.get()
        if not user:
            user = self.user.get() or (outer.user if outer is not None else self.default_user)
        self._number += 1
        execution = Execution(self._number, operation, user, outer, is_root=False)
        try:
            state = self.local.state
        except AttributeError:
            state = self.state_of_thread()
        self._settle(state)
        left = state.charge
        if left is not None and (left.execution is not outer or outer.charge is not left):
            self._leave(state, left)
        execution.charge = state.charge = Charge(execution, state, self.tick)
        state.charged = execution
        self.current.set(execution)
        return execution

    def open(self, operation: str, user: str = "", is_root: bool = False) -> Execution:
        """Open an execution below the current one and charge this thread's time to it; the current one stays."""
        outer = self.current.get()
        execution = self.enter(operation, user)
        self.current.set(outer)
        execution.is_root = is_root
        return execution

    def close(self, execution: Execution) -> None:
        """Record what the execution has used, counted as one more run of it, and charge its parent again."""
        try:
            state = self.local.state
        except AttributeError:
            state = self.state_of_thread()
        self._settle(state)
        execution.is_open = False
        charge, execution.charge = execution.charge, None
        if charge is not None and self.sums_up and self.is_on and self._counted_in is None:
            state.totals.add_run(charge)
        else:
            cpu_ns = 0
            if charge is not None:
                cpu_ns, charge.cpu_ns = charge.cpu_ns, 0
                self._record_charge(state, charge)
            record = (state.elapsed_mark, execution, CPU_INSTRUCTION, cpu_ns, 0, 0, 0, cpu_ns, 1.0, EXECUTIONS)
            self._append(state, record)
        left = state.charge
        if left is not None and left is not charge:
            self._leave(state, left)
        state.charge = state.charged = None
        parent = execution.parent
        if parent is not None and parent.is_open:
            self._charge_to(state, parent)

    def leave(self, execution: Execution) -> None:
        """Close an execution and make current what was before it, if it ends in the context that it began in."""
        self.close(execution)
        if self.current.get() is execution:
            self.current.set(execution.parent)

    def switch(self, execution: Execution | None) -> None:
        """Charge this thread's time to another execution from now on (None: to nobody), as a task switch does."""
        try:
            state = self.local.state
        except AttributeError:
            state = self.state_of_thread()
        self._settle(state)
        left = state.charge
        if left is not None:
            owner = left.execution
            if owner.is_open and owner.charge is left:
                left.suspended_ns = state.elapsed_mark
            else:
                self._record_charge(state, left)
        if execution is None:
            state.charge = state.charged = None
            return
        charge = execution.charge
        if charge is None or charge.owner is not state or not execution.is_open:
            charge = Charge(execution, state, self.tick)
        elif charge.suspended_ns:
            wait_ns = state.elapsed_mark - charge.suspended_ns
            if wait_ns > 0:
                charge.wait_ns += wait_ns
            charge.suspended_ns = 0
        state.charge, state.charged = charge, execution

    def resume(self, execution: Execution) -> None:
        """Go on with a paused execution, as a generator does; the pause was its caller's, hence not its waiting."""
        state = self.state_of_thread()
        self._settle(state)
        left = state.charge
        parent = execution.parent
        if left is not None and (parent is None or left is not parent.charge):
            self._leave(state, left)
        if execution.charge is not None:
            execution.charge.suspended_ns = 0
        self._charge_to(state, execution)

    def after_call(self, code: int, started_ns: int, memory: int = 0, network: int = 0, disk: int = 0) -> None:
        """Record an intercepted call that began at ``started_ns`` (elapsed clock) and ends now; sizes in bytes."""
        execution = self.current.get()
        try:
            state = self.local.state
        except AttributeError:
            state = self.state_of_thread()
        if execution is None or state.is_muted:
            return
        if state.charged is not execution:
            self.switch(execution)
            started_ns = state.elapsed_mark
        charge = state.charge
        assert charge is not None
        call_ns = elapsed_clock() - started_ns
        if call_ns < self._short_ns:
            state.claimed_ns += call_ns
            state.claimed_new_ns += call_ns
            state.attributed_ns += call_ns
        else:
            call_ns = self._time_long_call(state, charge, started_ns)
        state.calls += 1
        state.moved[code] += memory + disk
        if self.keeps_calls:
            now_ns = elapsed_clock()
            self._append(state, (now_ns, execution, code, call_ns, memory, network, disk, call_ns, 0.0, ""))
        else:
            sums = charge.calls.get(code)
            if sums is None:
                charge.calls[code] = [call_ns, memory, network, disk]
            else:
                sums[0] += call_ns
                sums[1] += memory
                sums[2] += network
                sums[3] += disk
        if self.tick - charge.tick >= STALE_TICKS:
            self._settle(state)
            self._record_charge(state, charge)

    def count(self, execution: Execution, meter: str, units: float) -> None:
        """Record an amount of a meter of the program's own."""
        record = (elapsed_clock(), execution, CUSTOM, 0, 0, 0, 0, 0, units, meter)
        self._append(self.state_of_thread(), record)

    def claim(self, execution: Execution, code: int, network: int) -> None:
        """Record bytes that were read before it was known which execution they belong to."""
        charge, state = execution.charge, self.state_of_thread()
        if charge is not None and charge.owner is state and execution.is_open and not self.keeps_calls:
            sums = charge.calls.setdefault(code, [0, 0, 0, 0])
            sums[2] += network
            return
        record = (elapsed_clock(), execution, code, 0, 0, network, 0, 0, 0.0, "")
        self._append(state, record)

    def checkpoint(self) -> None:
        """Record what this thread's open executions have used so far, as before a flush or the end of the process."""
        state = self.state_of_thread()
        self._settle(state)
        if state.charge is not None:
            self._record_charge(state, state.charge)
        execution = self.current.get()
        while execution is not None:
            charge = execution.charge
            if charge is not None and charge.owner is state and execution.is_open:
                self._record_charge(state, charge)
            execution = execution.parent

    def charged(self) -> Execution | None:
        """The execution that this thread's time is charged to now."""
        return self.state_of_thread().charged

    def mute(self) -> None:
        """Record nothing of this thread, ever."""
        self.state_of_thread().is_muted = True

    def keep_in(self, path: str, offset_ns: int, hz: int) -> bool:  # noqa: ARG002 -- of the compiled engine
        """Keep records in a file that outlives the process, until a batch holds them; this engine cannot.

        ``offset_ns`` is from the elapsed clock to Unix time, ``hz`` what CPU time becomes cycles by.
        """
        return False

    def keep_no_more(self) -> None:
        """Leave the file of `keep_in` with what it holds."""

    def intend(self) -> None:
        """All that was taken so far is in a batch that is about to get its name."""

    def release(self) -> None:
        """It has it: the file's room is free again."""

    def unexplained(self, is_ending: bool) -> tuple[int, int]:  # noqa: ARG002 -- of the compiled engine
        """TCP bytes (received, sent) that the kernel counted and no operation was charged for; this engine cannot tell.

        ``is_ending``: with what an open connection received and may still be charged to the operation that answers.
        """
        return 0, 0

    def count_allocations(self) -> bool:
        """Count the bytes that operations allocate; this engine cannot."""
        return False

    def count_cycles(self, event: str, needs_page: bool, hz: int) -> str:  # noqa: ARG002 -- of the compiled engine
        """Charge cycles as the processor's counter tells, from here on; returns the `source` of what is charged.

        ``event`` is ``cycles``, or ``task-clock``, which counts ns and is there without a counter; ``needs_page``: only
        where it is read without a system call; ``hz``: the frequency by which cycles become the CPU time of records.
        Raises OSError where that cannot be done, as always with this engine.
        """
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def count_numpy(self, table: object) -> None:
        """Count what NumPy allocates for arrays, given the capsule of its C interface; this engine cannot."""

    def intercept(self) -> bool:
        """Intercept below the interpreter, and in libraries loaded since; this engine cannot."""
        return False
