"""What the profiler itself costs: the CPU of its shipping thread, and of recording on the program's own threads."""

from __future__ import annotations

import time

from metercast.engine import CODE, Engine
from metercast.shipping.governor import Governor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.settings import Settings
    from metercast.shipping.batch import Converter, Row
    from metercast.shipping.journal import Lost

OPERATION = "metercast"
DROPPED = "dropped_events"
DETAIL_CHANGES = "detail_changes"
LOST = "lost_events"
_SELF = CODE["PROFILER_SELF"]
_ROUNDS = 200


class SelfCost:
    """Makes PROFILER_SELF events, at most two a round: shipping as measured, recording as calibrated at the start.

    The CPU of recording is spent inside the program's operations and hence part of their own figures as well; these
    events say how large that part is, and are not to be billed beside it.
    """

    def __init__(self, engine: Engine, converter: Converter, settings: Settings) -> None:
        self._governor = Governor(engine, settings.cpu_budget)
        self._engine = engine
        self._converter = converter
        self._user = settings.user
        self._record_ns = recording_cost_ns(type(engine))
        self._calls = engine.calls()
        self._cpu_mark_ns = time.thread_time_ns()

    def rows(self, records: int, dropped: int) -> list[Row]:
        """The cost since the last call of a round that shipped so many records; called by the shipping thread."""
        now_ns = time.thread_time_ns()
        shipping_ns, self._cpu_mark_ns = now_ns - self._cpu_mark_ns, now_ns
        calls = self._engine.calls()
        counted, self._calls = records + calls - self._calls, calls
        if not counted:
            return []
        recording_ns = int(counted * self._record_ns)
        rows = [
            self._row(shipping_ns, "thread-clock", float(dropped), DROPPED),
            self._row(recording_ns, f"calibrated {self._record_ns:.0f} ns x {counted}", 0.0, ""),
        ]
        change = self._governor.judge(records, shipping_ns, recording_ns)
        if change is None:
            return rows
        self._record_ns = recording_cost_ns(type(self._engine))  # with the clocks as they are read now
        return [*rows, self.change(change)]

    def lost(self, lost: Lost) -> Row:
        """The event of what a killed process had recorded, and no batch has."""
        return self._row(0, "killed", float(lost.records), LOST, lost.found_ns)

    def change(self, text: str) -> Row:
        """The event of a change in what is recorded."""
        return self._row(0, text, 1.0, DETAIL_CHANGES)

    def _row(self, cpu_ns: int, source: str, units: float, meter: str, time_ns: int = 0) -> Row:
        key = (self._user, OPERATION, _SELF, meter)
        return self._converter.row(time_ns or time.time_ns(), key, (cpu_ns, 0, 0, 0, cpu_ns / 1e6, units), source)


def recording_cost_ns(kind: type[Engine]) -> float:
    """CPU of one record in nanoseconds, measured on an engine of its own in about a millisecond."""
    engine = kind()
    engine.is_on = True
    started_ns = time.thread_time_ns()
    for _ in range(_ROUNDS):
        execution = engine.open("calibration", "calibration")
        token = engine.current.set(execution)
        engine.after_call(CODE["DISK_READ"], time.perf_counter_ns(), disk=1)
        engine.close(execution)
        engine.current.reset(token)
    spent_ns = time.thread_time_ns() - started_ns
    return spent_ns / max(1, engine.pending())
