"""Keeps the profiler within its share of the program's CPU by giving up detail, step by step, never amounts."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LEAST_CPU_NS = 50_000_000
"""CPU the program must have used before its profiler's share says anything."""
_CALM_ROUNDS, _MOST_CALM_ROUNDS = 6, 96

# (what the bill is told, whether clocks are coarse, whether only totals are kept), from the most detail to the least.
# With coarse clocks the time of intercepted calls stays with the operation's own computing and waiting; bytes do not.
STEPS = (
    ("records", False, False),
    ("records with coarse clocks", True, False),
    ("totals", True, True),
)


class Governor:
    """Steps down while recording and shipping cost more than the budget, and up again when there is room for it."""

    def __init__(self, engine: Any, budget: float) -> None:
        self._engine = engine
        self._budget = budget
        self._usual_clock = getattr(engine, "clock", None)
        self._step = 0
        self._process_mark_ns = time.process_time_ns()
        self._own_ns = 0
        self._records = 0
        self._shipping_ns_per_record = 0.0
        self._calm = 0
        self._calm_wanted = _CALM_ROUNDS

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
        if own_ns > self._budget * spent_ns:
            self._calm = 0
            if not self._move(1):
                return None
            return f"detail: {STEPS[self._step][0]}, own share was {own_ns / spent_ns:.1%} of {self._budget:.1%}"
        with_detail_ns = own_ns + (records * self._shipping_ns_per_record if self._engine.sums_up else 0)
        self._calm = self._calm + 1 if with_detail_ns <= self._budget / 2 * spent_ns else 0
        if self._calm < self._calm_wanted or not self._move(-1):
            return None
        self._calm = 0
        self._calm_wanted = min(_MOST_CALM_ROUNDS, 2 * self._calm_wanted)  # so that it does not swing for ever
        return (
            f"detail: {STEPS[self._step][0]}, own share would be {with_detail_ns / spent_ns:.1%} of {self._budget:.1%}"
        )

    def _move(self, by: int) -> bool:
        """Take a step; False at the end of the stairs."""
        step = self._step + by
        if self._usual_clock is None and step == 1:
            step += by
        if not 0 <= step < len(STEPS):
            return False
        self._step = step
        _, is_coarse, sums_up = STEPS[step]
        if self._usual_clock is not None:
            self._engine.clock = "coarse" if is_coarse else self._usual_clock
        self._engine.sums_up = sums_up
        return True
