"""Estimates as the API and the pages ask for them: the moment and window chosen, equal questions answered once."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from serving.engine.worker import EngineWorker
from serving.estimates import Futures, Request, Sources, estimate, fan, plan_named, usage_futures
from serving.kept import Kept
from serving.settings import Settings

NANOSECONDS = 1_000_000_000
LONGEST_HORIZON = 1_000


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
        self._answers: Kept[dict[str, Any]] = Kept(2_048)
        self._recent: Kept[tuple[dict[str, Any], list[tuple[int, dict[str, str]]]]] = Kept(256)
        self._futures: Kept[Futures] = Kept(32)

    def ask(self, question: Question) -> dict[str, Any]:
        """The document of `serving.estimates.estimate`; raises what that raises."""
        return self._answer(question, *self._request(question))

    def futures(self, question: Question) -> Futures:
        """The sample futures behind an answer; raises TooLittleHistoryError where there is too little usage."""
        return self._sampled(*self._request(question))

    def recent(self, question: Question, tolerance_s: float) -> tuple[dict[str, Any], list[tuple[int, dict[str, str]]]]:
        """Answer and fan that are at most ``tolerance_s`` old: enough for a page, where windows close every second."""
        request, model = self._request(question)
        key = (question, model, *self._versions(question), int(time.monotonic() // tolerance_s))
        return self._recent.get(key, lambda: self._with_fan(question, request, model))

    @property
    def hits(self) -> int:
        """Answers that were kept from before."""
        return self._answers.hits

    @property
    def misses(self) -> int:
        """Answers that were computed."""
        return self._answers.misses

    def _answer(self, question: Question, request: Request, model: Hashable) -> dict[str, Any]:
        key = (question, request, model, *self._versions(question))
        return self._answers.get(
            key, lambda: estimate(self._sources, request, question.plans, self._sampled(request, model))
        )

    def _with_fan(
        self, question: Question, request: Request, model: Hashable
    ) -> tuple[dict[str, Any], list[tuple[int, dict[str, str]]]]:
        """Both from the same sample futures, though windows close while they are made: the fan must meet the bill."""
        plan = plan_named(self._sources.plans, question.plans[0])
        return self._answer(question, request, model), fan(plan, self._sampled(request, model))

    def _versions(self, question: Question) -> list[int]:
        return [plan_named(self._sources.plans, plan_id).version for plan_id in question.plans]

    def _request(self, question: Question) -> tuple[Request, Hashable]:
        """The question at this moment, and what tells the model in force from others."""
        champion = self._sources.champion.current()
        window_s = self.window_s(question.end_ns)
        if champion is not None and champion[1].get("window_s"):
            window_s = int(champion[1]["window_s"])
        now_ns = self._worker.closed_until_ns(window_s) or time.time_ns()
        request = Request(
            question.user, question.start_ns, question.end_ns, now_ns, window_s, question.paths, question.budget
        )
        return request, None if champion is None else (id(champion[0]), str(champion[1].get("version")))

    def _sampled(self, request: Request, model: Hashable) -> Futures:
        key = (replace(request, budget=None), model)
        return self._futures.get(key, lambda: usage_futures(self._sources, request))

    def window_s(self, end_ns: int) -> int:
        """Without a champion: the shortest window of which not more than `LONGEST_HORIZON` lie ahead."""
        lengths = self._settings.windows_s
        ahead_s = (end_ns - (self._worker.closed_until_ns(lengths[0]) or time.time_ns())) / NANOSECONDS
        return min((length for length in lengths if ahead_s / length <= LONGEST_HORIZON), default=max(lengths))


def month_ns(now_ns: int) -> tuple[int, int]:
    """Start and end of the calendar month in UTC."""
    now = datetime.fromtimestamp(now_ns / NANOSECONDS, UTC)
    start = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return int(start.timestamp()) * NANOSECONDS, int(end.timestamp()) * NANOSECONDS
