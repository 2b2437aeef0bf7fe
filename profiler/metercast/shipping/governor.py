"""Keeps the profiler within its share of the program's CPU by giving up detail, never amounts."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from metercast.engine import Engine

_LEAST_CPU_NS = 50_000_000
"""CPU the program must have used before its profiler's share says anything."""
_CALM_ROUNDS = 6


class Governor:
    """Has the engine keep totals per (user, operation, type) while records one by one would cost too much."""

    def __init__(self, engine: Engine, budget: float) -> None:
        self._engine = engine
        self._budget = budget
        self._process_mark_ns = time.process_time_ns()
        self._own_ns = 0
        self._records = 0
        self._shipping_ns_per_record = 0.0
        self._calm = 0

    def judge(self, records: int, shipping_ns: int, recording_ns: int) -> str | None:
        """Decide after a round, in CPU ns; returns what changed, for the event that tells of it."""
        self._records += records
        self._own_ns += shipping_ns + recording_ns
        if records and not self._engine.sums_up:
            self._shipping_ns_per_record = shipping_ns / records
        spent_ns = time.process_time_ns() - self._process_mark_ns
        if spent_ns < _LEAST_CPU_NS:
            return None
        own_ns, records = self._own_ns, self._records
        self._process_mark_ns += spent_ns
        self._own_ns = self._records = 0
        if not self._engine.sums_up:
            if own_ns <= self._budget * spent_ns:
                return None
            self._engine.sums_up = True
            self._calm = 0
            return f"detail: totals, own share was {own_ns / spent_ns:.1%} of {self._budget:.1%}"
        with_detail_ns = own_ns + records * self._shipping_ns_per_record
        self._calm = self._calm + 1 if with_detail_ns <= self._budget / 2 * spent_ns else 0
        if self._calm < _CALM_ROUNDS:
            return None
        self._engine.sums_up = False
        return f"detail: records, own share would be {with_detail_ns / spent_ns:.1%} of {self._budget:.1%}"
