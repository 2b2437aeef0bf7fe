"""Keeps the profiler within its share of the program's CPU by giving up detail step by step, never amounts."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.engine import Engine

_LEAST_CPU_NS = 50_000_000
"""CPU the program must have used before its profiler's share says anything."""
_CALM_ROUNDS = 6
_FAR_OVER = 4.0
"""So many times over the budget, totals take over at once."""


class Governor:
    """Has the engine first stop to time calls, then keep totals per (user, operation, type) in place of records."""

    def __init__(self, engine: Engine, budget: float) -> None:
        self._engine = engine
        self._budget = budget
        self._clock = engine.clock
        self._process_mark_ns = time.process_time_ns()
        self._own_ns = self._saved_ns = 0.0
        self._shipping_ns_per_record = 0.0
        self._calm = 0

    def judge(self, records: int, calls: int, shipping_ns: int, recording_ns: int) -> str | None:
        """Decide after a round, in CPU ns; returns what changed, for the event that tells of it."""
        self._own_ns += shipping_ns + recording_ns
        if self._engine.sums_up:
            self._saved_ns += records * self._shipping_ns_per_record
        elif records:
            self._shipping_ns_per_record = shipping_ns / records
        spent_ns = time.process_time_ns() - self._process_mark_ns
        if spent_ns < _LEAST_CPU_NS:
            return None
        share, with_detail = self._own_ns / spent_ns, (self._own_ns + self._saved_ns) / spent_ns
        self._process_mark_ns += spent_ns
        self._own_ns = self._saved_ns = 0.0
        if share > self._budget:
            self._calm = 0
            return self._less(share, calls)
        self._calm = self._calm + 1 if with_detail <= self._budget / 2 else 0
        return self._more(with_detail) if self._calm >= _CALM_ROUNDS else None

    def _less(self, share: float, calls: int) -> str | None:
        engine, why = self._engine, f"own share was {share:.1%} of {self._budget:.1%}"
        if engine.sums_up:
            return None
        if engine.clock != "coarse" and calls and share <= _FAR_OVER * self._budget:
            engine.clock = "coarse"
            return f"detail: calls untimed, {why}"
        engine.sums_up = True
        return f"detail: totals, {why}"

    def _more(self, share: float) -> str | None:
        engine, why = self._engine, f"own share would be {share:.1%} of {self._budget:.1%}"
        self._calm = 0
        if engine.sums_up:
            engine.sums_up = False
            return f"detail: records, {why}"
        if engine.clock != self._clock:
            engine.clock = self._clock
            return f"detail: calls timed, {why}"
        return None
