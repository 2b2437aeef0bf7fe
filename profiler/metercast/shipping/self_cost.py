"""What the profiler itself costs, and what of the process nobody was charged for: two kinds of events of its own."""

from __future__ import annotations

import time

from metercast.engine import CODE, Engine
from metercast.shipping.governor import Governor
from metercast.shipping.reconciling import CPU, RECEIVED, SENT, SOURCES, Reconciliation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.settings import Settings
    from metercast.shipping.batch import Converter, Row
    from metercast.shipping.journal import Lost
    from metercast.totals import Key

OPERATION = "metercast"
DROPPED = "dropped_events"
DETAIL_CHANGES = "detail_changes"
LOST = "lost_events"
OUTSIDE = "unattributed"
"""The operation of UNATTRIBUTED events."""
_SELF, _OUTSIDE = CODE["PROFILER_SELF"], CODE["UNATTRIBUTED"]
_ROUNDS = 200
_LEAST_ALONE_NS = 1_000_000_000
"""UNATTRIBUTED CPU that is worth a batch of its own; less waits for other events."""


class SelfCost:
    """Makes PROFILER_SELF events, at most two a round: shipping as measured, recording as calibrated at the start,
    and UNATTRIBUTED events, at most one a resource and round.

    The CPU of recording is spent inside the program's operations and hence part of their own figures as well; these
    events say how large that part is, and are not to be billed beside it.
    """

    def __init__(
        self, engine: Engine, converter: Converter, settings: Settings, reconciliation: Reconciliation
    ) -> None:
        self._governor = Governor(engine, settings.cpu_budget)
        self._engine = engine
        self._converter = converter
        self._user = settings.user
        self._costs = {clock: recording_costs_ns(engine, clock) for clock in ("coarse", engine.clock)}
        self._reconciliation = reconciliation
        self._calls = engine.calls()
        self._cpu_mark_ns = time.thread_time_ns()

    def rows(self, records: int, dropped: int, is_ending: bool = False) -> list[Row]:
        """What has come up since the last call, of a round that shipped so many records; in the shipping thread.

        ``is_ending``: it is the last round.
        """
        now_ns = time.thread_time_ns()
        shipping_ns, self._cpu_mark_ns = now_ns - self._cpu_mark_ns, now_ns
        now_calls = self._engine.calls()
        calls, self._calls = max(0, now_calls - self._calls), now_calls  # a thread that ends may take some along
        if not records + calls:
            return self._unattributed(0 if is_ending else _LEAST_ALONE_NS, is_ending)
        rows = self._unattributed(0, is_ending)
        record_ns, call_ns = self._costs.get(self._engine.clock) or self._costs["coarse"]
        recording_ns = int(records * record_ns + calls * call_ns)
        source = f"calibrated {record_ns:.0f} ns x {records} + {call_ns:.0f} ns x {calls}"
        rows.append(self._row((self._user, OPERATION, _SELF, DROPPED), shipping_ns, "thread-clock", float(dropped)))
        rows.append(self._row((self._user, OPERATION, _SELF, ""), recording_ns, source))
        change = self._governor.judge(records, shipping_ns, recording_ns)
        return rows if change is None else [*rows, self.change(change)]

    def lost(self, lost: Lost, records: int) -> Row:
        """The event of so many records that a killed process has made, and that are gone."""
        key = (self._user, OPERATION, _SELF, LOST)
        return self._row(key, 0, "killed", float(records), time_ns=lost.found_ns)

    def change(self, text: str) -> Row:
        """The event of a change in what is recorded."""
        return self._row((self._user, OPERATION, _SELF, DETAIL_CHANGES), 0, text, 1.0)

    def _unattributed(self, least_cpu_ns: int = 0, is_ending: bool = False) -> list[Row]:
        rows = []
        for meter, amount in self._reconciliation.grown(least_cpu_ns, is_ending).items():
            cpu_ns, network = (amount if meter == CPU else 0), (amount if meter in (RECEIVED, SENT) else 0)
            amounts = (cpu_ns, 0, network, amount - cpu_ns - network, cpu_ns / 1e6, 0.0)
            key = (self._user, OUTSIDE, _OUTSIDE, meter)
            rows.append(self._converter.row(time.time_ns(), key, amounts, SOURCES[meter]))
        return rows

    def _row(self, key: Key, cpu_ns: int, source: str, units: float = 0.0, time_ns: int = 0) -> Row:
        return self._converter.row(time_ns or time.time_ns(), key, (cpu_ns, 0, 0, 0, cpu_ns / 1e6, units), source)


def recording_costs_ns(own: Engine, clock: str) -> tuple[float, float]:
    """CPU ns of a record and of a call that is added to one, measured on an engine of its own in a millisecond."""
    engine = type(own)()
    usual, engine.clock, engine.is_on = own.clock, clock, True
    code, elapsed_ns = CODE["DISK_READ"], time.perf_counter_ns
    started_ns = time.thread_time_ns()
    for _ in range(_ROUNDS):
        engine.leave(engine.enter("calibration", "calibration"))
    record_ns = (time.thread_time_ns() - started_ns) / max(1, len(engine.take(_ROUNDS * 4)))
    execution = engine.enter("calibration", "calibration")
    started_ns = time.thread_time_ns()
    for _ in range(_ROUNDS):
        engine.after_call(code, elapsed_ns())
    call_ns = (time.thread_time_ns() - started_ns) / _ROUNDS
    engine.leave(execution)
    engine.clock = usual
    return record_ns, call_ns
