"""Estimates as the API and the pages ask for them: the moment and window chosen, equal questions answered once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from serving.engine.worker import EngineWorker
from serving.estimates import Request, Sources, estimate
from serving.settings import Settings

NANOSECONDS = 1_000_000_000
LONGEST_HORIZON = 1_000
_KEPT = 2_048


@dataclass(frozen=True, slots=True)
class Question:
    """Whose bill under which plans over [start_ns, end_ns)."""

    user: str
    plans: tuple[str, ...]
    start_ns: int
    end_ns: int
    paths: int = 1_000
    budget: Decimal | None = None


class EstimateService:
    """Answers questions from the closed windows; an answer is kept until a window closes or the champion changes."""

    def __init__(self, sources: Sources, worker: EngineWorker, settings: Settings) -> None:
        self._sources, self._worker, self._settings = sources, worker, settings
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[object, ...], dict[str, Any]] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def ask(self, question: Question) -> dict[str, Any]:
        """The document of `serving.estimates.estimate`; raises what that raises."""
        champion = self._sources.champion.current()
        window_s = self.window_s(question.end_ns)
        if champion is not None and champion[1].get("window_s"):
            window_s = int(champion[1]["window_s"])
        now_ns = self._worker.closed_until_ns(window_s) or time.time_ns()
        key = (question, window_s, now_ns, id(champion and champion[0]), *map(self._version, question.plans))
        with self._lock:
            if key in self._answers:
                self.hits += 1
                self._answers.move_to_end(key)
                return self._answers[key]
        request = Request(
            question.user, question.start_ns, question.end_ns, now_ns, window_s, question.paths, question.budget
        )
        answer = estimate(self._sources, request, question.plans)
        with self._lock:
            self.misses += 1
            self._answers[key] = answer
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return answer

    def window_s(self, end_ns: int) -> int:
        """Without a champion: the shortest window of which not more than `LONGEST_HORIZON` lie ahead."""
        lengths = self._settings.windows_s
        ahead_s = (end_ns - (self._worker.closed_until_ns(lengths[0]) or time.time_ns())) / NANOSECONDS
        return min((length for length in lengths if ahead_s / length <= LONGEST_HORIZON), default=max(lengths))

    def _version(self, plan_id: str) -> int | None:
        plan = self._sources.plans.get(plan_id)
        return plan.version if plan is not None else None


def month_ns(now_ns: int) -> tuple[int, int]:
    """Start and end of the calendar month in UTC."""
    now = datetime.fromtimestamp(now_ns / NANOSECONDS, UTC)
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return int(start.timestamp()) * NANOSECONDS, int(end.timestamp()) * NANOSECONDS
