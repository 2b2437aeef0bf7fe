"""How the Python engine charges time: by the thread clock at boundaries, by the elapsed clock within short spans."""

from __future__ import annotations

import threading
import time

from metercast.event import MICRO_OPERATION_TYPES
from metercast.execution import Charge, Execution, ThreadState
from metercast.recording import Recording

CODE = {name: code for code, name in enumerate(MICRO_OPERATION_TYPES)}
CPU_INSTRUCTION = CODE["CPU_INSTRUCTION"]
WAIT = CODE["WAIT"]

SHORT_NS = 25_000
"""A span shorter than this is charged its elapsed time; the next boundary takes that from what the clock says."""

STALE_TICKS = 2
"""An execution that has recorded nothing for so many flushes records what it has used so far."""

CLOCKS = ("exact", "adaptive", "coarse")
"""How calls are timed: by the thread clock each, as the module's docstring says, or not, only counted."""

cpu_clock = time.thread_time_ns
elapsed_clock = time.perf_counter_ns


class Charging(Recording):
    """Settles threads and records what they were charged; see metercast/engine.py for the rules."""

    def __init__(self, capacity: int) -> None:
        super().__init__(capacity)
        self.keeps_calls = False  # a record of each call
        self.tick = 0
        self.clock = "adaptive"
        self.local = threading.local()

    @property
    def clock(self) -> str:
        """How calls are timed, one of `CLOCKS`."""
        return self._clock

    @clock.setter
    def clock(self, name: str) -> None:
        if name not in CLOCKS:
            raise ValueError(f"clock: {name!r} is none of {', '.join(map(repr, CLOCKS))}; set one of them")
        self._clock = name
        self._short_ns = SHORT_NS if name == "adaptive" else 0
        self._short_span_ns = 0 if name == "exact" else SHORT_NS
        self._times_calls = name != "coarse"

    def state_of_thread(self) -> ThreadState:
        """The state of the calling thread, made when it is first asked for."""
        try:
            state: ThreadState = self.local.state
        except AttributeError:
            state = self.local.state = ThreadState(elapsed_clock(), cpu_clock())
            self.states.append(state)
        return state

    def _time_long_call(self, state: ThreadState, charge: Charge, started_ns: int) -> int:
        """CPU ns of the call that began then and ends now; what came before it is charged on the way."""
        if not self._times_calls:
            return 0
        now_ns, cpu_now = elapsed_clock(), cpu_clock()
        cpu_ns = cpu_now - state.cpu_mark - state.claimed_ns
        before_ns = started_ns - state.elapsed_mark - state.claimed_new_ns
        wait_ns = now_ns - state.elapsed_mark - state.claimed_new_ns - cpu_ns
        state.cpu_mark, state.elapsed_mark = cpu_now, now_ns
        state.claimed_ns = state.claimed_new_ns = 0
        if cpu_ns < 0:
            state.claimed_ns, cpu_ns = -cpu_ns, 0
        # a boundary inside the call leaves nothing before it
        call_ns = cpu_ns if before_ns <= 0 else cpu_ns - before_ns if cpu_ns > before_ns else 0
        charge.cpu_ns += cpu_ns - call_ns
        if wait_ns > 0:
            charge.wait_ns += wait_ns
        state.attributed_ns += cpu_ns
        return call_ns

    def _settle(self, state: ThreadState) -> None:
        """Charge the time since the mark to whoever the thread works for, and set the mark to now.

        The engine's boundaries have the short case in line: a frame less for each.
        """
        now_ns = elapsed_clock()
        span_ns = now_ns - state.elapsed_mark - state.claimed_new_ns
        if span_ns >= self._short_span_ns:
            self._settle_long(state, now_ns, span_ns)
            return
        state.claimed_ns += span_ns
        charge = state.charge
        if charge is not None:
            charge.cpu_ns += span_ns
            state.attributed_ns += span_ns
        state.elapsed_mark = now_ns
        state.claimed_new_ns = 0

    def _settle_long(self, state: ThreadState, now_ns: int, span_ns: int) -> None:
        """Charge a span up to now by the thread clock."""
        charge = state.charge
        cpu_now = cpu_clock()
        cpu_ns = cpu_now - state.cpu_mark - state.claimed_ns
        if charge is not None and span_ns > cpu_ns:
            charge.wait_ns += span_ns - cpu_ns
        state.claimed_ns = 0
        if cpu_ns < 0:  # spans that were preempted claimed too much: what follows pays it back
            state.claimed_ns, cpu_ns = -cpu_ns, 0
        state.cpu_mark = cpu_now
        if charge is not None:
            charge.cpu_ns += cpu_ns
            state.attributed_ns += cpu_ns
        state.elapsed_mark = now_ns
        state.claimed_new_ns = 0

    def _charge_to(self, state: ThreadState, execution: Execution) -> None:
        charge = execution.charge
        if charge is None or charge.owner is not state or not execution.is_open:
            charge = Charge(execution, state, self.tick)
        state.charge = charge
        state.charged = execution
        if charge.suspended_ns:
            charge.wait_ns += max(0, state.elapsed_mark - charge.suspended_ns)
            charge.suspended_ns = 0

    def _leave(self, state: ThreadState, charge: Charge) -> None:
        """The thread turns to something else: an open execution of its own waits, anything else is recorded now."""
        execution = charge.execution
        if execution.is_open and execution.charge is charge:
            charge.suspended_ns = state.elapsed_mark
        else:
            self._record_charge(state, charge)

    def _record_charge(self, state: ThreadState, charge: Charge) -> None:
        charge.tick = self.tick
        now_ns = state.elapsed_mark
        execution = charge.execution
        cpu_ns, charge.cpu_ns = charge.cpu_ns, 0
        wait_ns, charge.wait_ns = charge.wait_ns, 0
        append = self._records.append if self._has_room() else self._adder(state)
        if cpu_ns:
            append((now_ns, execution, CPU_INSTRUCTION, cpu_ns, 0, 0, 0, cpu_ns, 0.0, ""))
        if wait_ns:
            append((now_ns, execution, WAIT, 0, 0, 0, 0, wait_ns, 0.0, ""))
        if charge.calls:
            calls, charge.calls = charge.calls, {}
            for code, (call_ns, memory, network, disk) in calls.items():
                append((now_ns, execution, code, call_ns, memory, network, disk, call_ns, 0.0, ""))
